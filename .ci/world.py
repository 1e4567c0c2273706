"""An account on moto that looks as an account does after some years, for `.ci/record`: prints its address, and ends when standard input closes.

Run by a python that has what `tests/requirements.txt` names. What there is comes through AWS's API; what the API does not let anybody choose, dates, is put
in behind it. The same every time but for the day.
"""

import datetime
import io
import json
import logging
import os
import random
import struct
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

from moto.ec2.models import ec2_backends
from moto.iam.models import AccessKeyLastUsed, iam_backends
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ACCOUNT, REGION, ROWS = "123456789012", "us-east-1", 50
LINUX, WINDOWS = "ami-785db401", "ami-12c6146b"
TEAMS = ("payments", "search", "billing", "platform", "data")
PEOPLE = ("alice", "bruno", "chen", "dalia", "emeka", "farah", "goran", "hana", "ivan", "jun", "kofi", "lena", "mateo", "noor", "olga", "priya", "quentin",
          "rosa", "sven", "tomas", "uma", "vera", "wen", "yara", "zoe")
ROBOTS = ("backup", "ci-deploy", "etl", "monitoring", "terraform")

# What moto does not know, and an account has none of.
NOTHING = ("DescribeImageReferences", "DescribeLockedSnapshots", "DescribeSecurityGroupReferences", "DescribeSecurityGroupVpcAssociations")
# Who else there is: a partner with a contract, and somebody whom nobody remembers.
PARTNER, STRANGER = "210987654321", "999999999999"
# When every credential report of moto was made.
MADE = b"2015-02-02T20:02:02Z"

chance = random.Random(15)
now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def end_with_parent():
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def mended(moto):
    """moto, with answers to what it does not know, and credential reports of today."""
    def answer(environ, begin):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if operation in JSON_ANSWERS:
            begin("200 OK", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps(JSON_ANSWERS[operation](json.loads(body))).encode()]
        if environ.get("PATH_INFO", "").endswith("/operation/GetMetricData"):
            begin("200 OK", [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")])
            return [encoded(figures(decoded(io.BytesIO(body))))]
        asked = urllib.parse.parse_qs(body.decode("utf-8", "replace"))
        action = asked.get("Action", [""])[0]
        # moto passes over who may restore a snapshot: none of these is shared.
        if action in NOTHING or "RestorableBy.1" in asked:
            begin("200 OK", [("Content-Type", "text/xml")])
            return [f'<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>0</requestId></{action}Response>'.encode()]
        answered = moto(environ, begin)
        if action == "GetCredentialReport":
            return [part.replace(MADE, now.strftime("%Y-%m-%dT%H:%M:%SZ").encode()) for part in answered]
        if environ.get("QUERY_STRING") == "versioning":
            # Its name as S3 has it; the answer stays as long as it says.
            return [part.replace(b"GetBucketVersioningResponse", b"VersioningConfiguration    ") for part in answered]
        return answered

    return answer


def ask(service, action, **parameters):
    """Sends a request, and gives the text of the answer."""
    names = {name.replace("__", "."): value for name, value in parameters.items()}
    body = urllib.parse.urlencode({"Action": action, **names}).encode()
    signature = f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    headers = {"Authorization": signature, "Content-Type": "application/x-www-form-urlencoded"}
    try:
        with urllib.request.urlopen(urllib.request.Request(ADDRESS, body, headers)) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as refused:
        sys.exit(f"{action}: {refused.read().decode()}")


def first(text, name):
    return text.split(f"<{name}>", 1)[1].split("<", 1)[0]


def ago(days):
    """Nearly so many days ago, at some hour: the hours are random, so that no list of dates looks made."""
    return now - datetime.timedelta(days=days, minutes=chance.randrange(24 * 60))


def tags(resource, **values):
    numbered = {f"Tag__{n}__{part}": text for n, pair in enumerate(values.items(), 1) for part, text in zip(("Key", "Value"), pair)}
    ask("ec2", "CreateTags", ResourceId__1=resource, **numbered)


def instances(ec2):
    """Machines of five teams; a few are stopped, a few on Windows."""
    made = []
    for n in range(ROWS):
        team = TEAMS[n % len(TEAMS)]
        role = chance.choice(("web", "web", "api", "worker", "db", "cache"))
        image = WINDOWS if team == "billing" and role == "db" else LINUX
        kind = chance.choice(("t3.micro", "t3.small", "t3.medium", "m6i.large", "m6i.xlarge", "c7g.large", "r6i.2xlarge"))
        text = ask("ec2", "RunInstances", ImageId=image, InstanceType=kind, MinCount=1, MaxCount=1, SecurityGroupId__1=chance.choice(GROUPS))
        machine = first(text, "instanceId")
        tags(machine, Name=f"{team}-{role}-{n // len(TEAMS) + 1:02}", Team=team)
        if chance.random() < 0.2:
            ask("ec2", "StopInstances", InstanceId__1=machine)
        ec2.get_instance(machine).launch_time = ago(chance.choice((3, 12, 40, 90, 210, 400, 800))).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        made.append(machine)
    return made


def volumes(ec2, machines):
    """The root volumes of the machines are there already, and nobody named them; others come beside them."""
    for volume in list(ec2.volumes.values()):
        volume.create_time = ago(chance.randrange(3, 800))
    for n in range(ROWS):
        kind, size = chance.choice((("gp3", 20), ("gp3", 100), ("gp2", 50), ("gp2", 200), ("io2", 500), ("st1", 2048), ("gp3", 1024)))
        iops = {"Iops": 8000} if kind == "io2" else {"Iops": 3000, "Throughput": 125} if kind == "gp3" else {}
        encrypted = "true" if chance.random() < 0.6 else "false"
        text = ask("ec2", "CreateVolume", AvailabilityZone=f"{REGION}a", Size=size, VolumeType=kind, Encrypted=encrypted, **iops)
        volume = first(text, "volumeId")
        if chance.random() < 0.9:
            tags(volume, Name=f"{chance.choice(TEAMS)}-{chance.choice(('data', 'logs', 'scratch', 'pgdata'))}-{n:02}")
        if chance.random() < 0.6:
            ask("ec2", "AttachVolume", VolumeId=volume, InstanceId=chance.choice(machines), Device="/dev/sdf")
        ec2.volumes[volume].create_time = ago(chance.choice((1, 8, 30, 75, 180, 420, 1100)))


def snapshots(ec2):
    """Nightly ones of some volumes, and a few that somebody took by hand and forgot."""
    some = [volume for volume in ec2.volumes.values() if volume.size > 8][:9]
    for n in range(ROWS):
        volume = some[n % len(some)]
        by_hand = n % 7 == 3
        text = "before the upgrade" if by_hand else f"nightly of {volume.id}"
        snapshot = first(ask("ec2", "CreateSnapshot", VolumeId=volume.id, Description=text), "snapshotId")
        name = next((tag["value"] for tag in volume.get_tags() if tag["key"] == "Name"), "volume")
        tags(snapshot, Name=f"{name}-{'upgrade' if by_hand else 'nightly'}")
        ec2.snapshots[snapshot].start_time = ago(chance.choice((600, 900, 1300)) if by_hand else n // len(some) + 1)


def groups():
    """Groups of the teams, some of which admit everyone to what should be closed."""
    made = []
    for team in TEAMS:
        for role in ("web", "ssh", "db", "internal"):
            group = first(ask("ec2", "CreateSecurityGroup", GroupName=f"{team}-{role}", GroupDescription=f"{role} of {team}"), "groupId")
            made.append(group)
            open_to = {"web": ((443, "customers"), (80, "redirects to 443")), "ssh": ((22, ""),), "db": ((5432, "until Friday"),), "internal": ()}[role]
            for port, why in open_to:
                rule = {"IpPermissions__1__IpProtocol": "tcp", "IpPermissions__1__FromPort": port, "IpPermissions__1__ToPort": port}
                rule["IpPermissions__1__IpRanges__1__CidrIp"] = "0.0.0.0/0"
                if why:
                    rule["IpPermissions__1__IpRanges__1__Description"] = why
                ask("ec2", "AuthorizeSecurityGroupIngress", GroupId=group, **rule)
                if role == "web":
                    rule["IpPermissions__1__Ipv6Ranges__1__CidrIpv6"] = "::/0"
                    del rule["IpPermissions__1__IpRanges__1__CidrIp"]
                    rule.pop("IpPermissions__1__IpRanges__1__Description", None)
                    ask("ec2", "AuthorizeSecurityGroupIngress", GroupId=group, **rule)
    return made


def addresses(machines):
    """Some addresses stand for a machine, some for nothing any more; some interfaces are left over."""
    for n in range(12):
        address = first(ask("ec2", "AllocateAddress", Domain="vpc"), "allocationId")
        if n % 3:
            ask("ec2", "AssociateAddress", AllocationId=address, InstanceId=machines[n])
        else:
            tags(address, Name=f"{TEAMS[n % len(TEAMS)]}-gateway")
    subnet = first(ask("ec2", "DescribeSubnets", Filter__1__Name="availability-zone", Filter__1__Value__1=f"{REGION}a"), "subnetId")
    for n in range(6):
        ask("ec2", "CreateNetworkInterface", SubnetId=subnet, Description=f"failover of {TEAMS[n % len(TEAMS)]}")


def users(iam):
    """People and programs. All programs and most people have keys, and most keys are old."""
    names = [*PEOPLE, *(f"{team}-{robot}" for team in TEAMS for robot in ROBOTS)]
    for name in names:
        ask("iam", "CreateUser", UserName=name)
        iam.users[name].create_date = ago(chance.randrange(1200, 1500))
        if name in PEOPLE:
            ask("iam", "CreateLoginProfile", UserName=name, Password="correct-horse-1-Battery!")
        if "-" in name or chance.random() < 0.95:
            ask("iam", "CreateAccessKey", UserName=name)
            iam.users[name].access_keys[-1].create_date = ago(chance.choice((12, 95, 120, 200, 365, 500, 800, 1190, 1190)))
        if chance.random() < 0.3:
            ask("iam", "CreateAccessKey", UserName=name)
            iam.users[name].access_keys[-1].create_date = ago(chance.choice((20, 130, 450, 900)))


def more_groups():
    """Groups that tools and wizards made, with names as long as theirs are, and rules that are wider than anybody meant."""
    names = ("launch-wizard-17", "k8s-elb-a3f09c1d2b7e64f58a90c1d2e3f40516", "eks-cluster-sg-production-europe-1734209871", "default-übergang",
             "awseb-e-mq2zj4k8ph-stack-AWSEBLoadBalancerSecurityGroup-1QX7", "ElasticMapReduce-master", "rds-launch-wizard",
             "本番-踏み台", "vpn", "legacy")
    rules = (("tcp", 22, 22, "0.0.0.0/0", "temporary, see the ticket"),
             ("tcp", 30000, 32767, "0.0.0.0/0", "kubernetes.io/rule/nlb/client=a3f09c1d2b7e64f58a90c1d2e3f40516"),
             ("-1", -1, -1, "0.0.0.0/0", ""), ("tcp", 0, 65535, "0.0.0.0/1", "half of the world"), ("tcp", 443, 443, "::/0", ""),
             ("tcp", 8000, 8100, "128.0.0.0/1", "the other half"), ("udp", 1194, 1194, "0.0.0.0/0", "für alle"), ("icmp", -1, -1, "0.0.0.0/0", "ping"),
             ("tcp", 3389, 3389, "::/1", ""), ("50", -1, -1, "0.0.0.0/0", "ESP"))
    for n, name in enumerate(names):
        group = first(ask("ec2", "CreateSecurityGroup", GroupName=name, GroupDescription=f"made by a tool for {name}"), "groupId")
        for protocol, lowest, highest, source, why in (rules[n], rules[(n + 3) % len(rules)]):
            kind, member = ("Ipv6Ranges", "CidrIpv6") if ":" in source else ("IpRanges", "CidrIp")
            rule = {"IpPermissions__1__IpProtocol": protocol, f"IpPermissions__1__{kind}__1__{member}": source}
            if protocol != "-1":
                rule |= {"IpPermissions__1__FromPort": lowest, "IpPermissions__1__ToPort": highest}
            if why:
                rule[f"IpPermissions__1__{kind}__1__Description"] = why
            ask("ec2", "AuthorizeSecurityGroupIngress", GroupId=group, **rule)
    for n in range(30):
        name = f"{TEAMS[n % 5]}-{('staging', 'experiment', 'migration')[n % 3]}-{n:02}"
        ask("ec2", "CreateSecurityGroup", GroupName=name, GroupDescription="not needed any more")


def more_addresses(machines):
    """So many that there are fifty, of which most stand for a machine."""
    for n in range(38):
        address = first(ask("ec2", "AllocateAddress", Domain="vpc"), "allocationId")
        if n % 5 < 3:
            ask("ec2", "AssociateAddress", AllocationId=address, InstanceId=machines[12 + n])
        if n % 4:
            tags(address, Name=f"{TEAMS[n % len(TEAMS)]}-{('vpn', 'mail', 'partner')[n % 3]}-{n:02}")


def images(ec2, machines):
    """Golden images, built every month under long names, and some that somebody made of a machine by hand; a few are public, or other accounts may use them."""
    for n in range(ROWS):
        team, by_hand = TEAMS[n % len(TEAMS)], n % 6 == 5
        day = ago(chance.choice((2, 20, 33, 64, 95, 190, 380, 800)))
        name = f"before the upgrade of {team}, do not delete" if by_hand else f"golden/{team}/al2023-minimal-x86_64-hvm-{day:%Y%m%d-%H%M%S}-{n:02}"
        made = first(ask("ec2", "CreateImage", InstanceId=machines[n], Name=f"{name} {n:02}" if by_hand else name, Description=f"image of {team}"), "imageId")
        image = ec2.amis[made]
        image.creation_date = day
        if n % 9 == 0:
            image.launch_permissions.append({"Group": "all"})
        if n % 4 == 0:
            image.launch_permissions.append({"UserId": PARTNER})
        if not by_hand:
            tags(made, Name=name, Team=team, Pipeline="https://ci.example.com/golden")


def documents(n):
    """What policies say: most of it harmless, some of it all there is."""
    allow = lambda action, resource, **more: {"Effect": "Allow", "Action": action, "Resource": resource, **more}  # noqa: E731
    kinds = (
        [allow("*", "*")],
        [allow(["s3:GetObject", "s3:ListBucket"], [f"arn:aws:s3:::{TEAMS[n % 5]}-data", f"arn:aws:s3:::{TEAMS[n % 5]}-data/*"])],
        [allow("s3:*", "*"), allow("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/*")],
        [allow(["iam:PassRole", "ec2:RunInstances", "lambda:CreateFunction", "lambda:InvokeFunction"], "*")],
        [allow(["ec2:Describe*", "cloudwatch:Get*", "logs:FilterLogEvents"], "*")],
        [allow(["iam:CreatePolicyVersion", "iam:AttachRolePolicy", "iam:PutUserPolicy"], "*", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}})],
        [allow(f"{service}:*", "*") for service in ("dynamodb", "sqs", "sns", "lambda", "ecr", "ecs")],
    )
    return json.dumps({"Version": "2012-10-17", "Statement": kinds[n % len(kinds)]})


def trusts(n):
    """Whom a role admits: services, the own account, a partner, a stranger, everyone, a federation without a condition."""
    federated = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
    say = lambda principal, action="sts:AssumeRole", **more: {"Effect": "Allow", "Principal": principal, "Action": action, **more}  # noqa: E731
    kinds = (
        [say({"Service": "ec2.amazonaws.com"})],
        [say({"AWS": f"arn:aws:iam::{PARTNER}:root"})],
        [say({"AWS": f"arn:aws:iam::{ACCOUNT}:root"})],
        [say({"AWS": f"arn:aws:iam::{STRANGER}:role/service-role/vendor-of-monitoring-with-a-long-name"}, Sid="VendorAccess")],
        [say({"Service": "lambda.amazonaws.com"}), say({"AWS": "*"}, Sid="Anyone")],
        [say({"Federated": federated}, "sts:AssumeRoleWithWebIdentity", Condition={"StringLike": {"token.actions.githubusercontent.com:sub": "repo:*"}})],
        [say({"AWS": f"arn:aws:iam::{PARTNER}:root"}, Sid="PartnerWithId", Condition={"StringEquals": {"sts:ExternalId": "d6b2"}})],
    )
    return json.dumps({"Version": "2012-10-17", "Statement": kinds[n % len(kinds)]})


def roles(iam):
    """Roles of teams, of pipelines and of services, under paths; some were never used."""
    for n in range(ROWS):
        team = TEAMS[n % len(TEAMS)]
        name = (f"{team}-{('web', 'worker', 'deploy', 'reader', 'break-glass')[n // 5 % 5]}-{n:02}",
                f"AWSReservedSSO_AdministratorAccess_{n:02}f3a9c0d1e2b4a5",
                f"{team}-production-eu-LambdaExecutionRole-1XJ5QK2M{n:02}")[(n % 7 == 1) + 2 * (n % 7 == 4)]
        path = ("/", f"/teams/{team}/", "/service-role/")[n % 3] if n % 7 != 1 else "/aws-reserved/sso.amazonaws.com/"
        ask("iam", "CreateRole", RoleName=name, Path=path, AssumeRolePolicyDocument=trusts(n), Description="" if n % 4 else f"für {team}")
        role = iam.get_role(name)
        role.create_date = ago(chance.choice((100, 300, 700, 1400)))
        if n % 3:
            role.last_used, role.last_used_region = ago(chance.choice((0, 3, 50, 95, 200, 390))), chance.choice((REGION, "eu-central-1"))
        if n % 10 == 0:
            ask("iam", "CreateInstanceProfile", InstanceProfileName=name)
            ask("iam", "AddRoleToInstanceProfile", InstanceProfileName=name, RoleName=name)
        if n % 2:
            ask("iam", "PutRolePolicy", RoleName=name, PolicyName=f"{team}-inline", PolicyDocument=documents(n // 2))
        yield name


def policies(roles):
    """Customer managed policies, which users, groups and roles have, or nobody; the groups; and inline policies of people."""
    for team in TEAMS:
        ask("iam", "CreateGroup", GroupName=f"{team}-administrators")
    for n, person in enumerate(PEOPLE):
        ask("iam", "AddUserToGroup", GroupName=f"{TEAMS[n % len(TEAMS)]}-administrators", UserName=person)
        ask("iam", "PutUserPolicy", UserName=person, PolicyName="emergency access of " .replace(" ", "-") + person, PolicyDocument=documents(n))
    for n in range(ROWS):
        team, path = TEAMS[n % len(TEAMS)], ("/", f"/teams/{TEAMS[n % len(TEAMS)]}/boundaries/")[n % 2]
        name = f"{team}-{('FullAccess', 'ReadOnly', 'DataLakeMaintenanceAndBackfill', 'Deploy', 'Observe')[n // 5 % 5]}-{n:02}"
        arn = first(ask("iam", "CreatePolicy", PolicyName=name, Path=path, PolicyDocument=documents(n)), "Arn")
        if n % 3:
            ask("iam", "AttachRolePolicy", PolicyArn=arn, RoleName=roles[n])
        if n % 4 == 0:
            ask("iam", "AttachGroupPolicy", PolicyArn=arn, GroupName=f"{team}-administrators")
        if n % 14 == 0:
            for other in (*roles[:12], *roles[20:24]):
                ask("iam", "AttachRolePolicy", PolicyArn=arn, RoleName=other)


def used(iam):
    """When passwords and keys were used last: some never were."""
    for n, (name, user) in enumerate(iam.users.items()):
        if user.password and n % 4:
            user.password_last_used = ago(chance.choice((0, 5, 40, 91, 200, 700)))
        for key in user.access_keys:
            if chance.random() < 0.7:
                at = ago(chance.choice((0, 1, 30, 95, 150, 400)))
                key.last_used = AccessKeyLastUsed(at, chance.choice(("s3", "ec2", "sts", "secretsmanager")), chance.choice((REGION, "eu-central-1")))
            if chance.random() < 0.15:
                key.status = "Inactive"


def buckets(s3):
    """Buckets with long names, in several regions; some are public, most are blocked, each is encrypted in its own way."""
    for n in range(ROWS):
        team, region = TEAMS[n % len(TEAMS)], (REGION, "eu-central-1", "ap-northeast-1")[n % 3]
        name = f"example-{team}-{('data', 'logs', 'terraform-state', 'cloudtrail-organization-archive', 'www')[n // 5 % 5]}-{n:02}"
        bucket = s3.create_bucket(name, region)
        bucket.creation_date = ago(chance.choice((1, 90, 400, 2000))).replace(tzinfo=datetime.timezone.utc)
        if n % 4 == 0:
            bucket.versioning_status = "Enabled" if n % 8 else "Suspended"
        if n // 5 % 5 == 4:
            public = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
            bucket.policy = json.dumps({"Version": "2012-10-17", "Statement": [public]}).encode()
        elif n % 2:
            s3.put_public_access_block(name, {setting: "true" for setting in BLOCKS})
        key = f"arn:aws:kms:{region}:{ACCOUNT}:key/0a1b2c3d-4e5f-4061-8273-{n:012}"
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key} if n % 5 == 2 else {"SSEAlgorithm": "AES256"}
        s3.put_bucket_encryption(name, {"Rule": {"ApplyServerSideEncryptionByDefault": default}})


def objects(s3):
    """What lies in one of them: deep paths, names of all alphabets, empty files, archives; each a few times."""
    s3.put_bucket_versioning(OBJECTS, "Enabled")
    names = ("exports/year=2026/month=11/day={:02}/part-00000-8f14e45f-ceea-467f-a8ad-1c2d3e4f5a6b.c000.snappy.parquet", "backup {:02}.tar.gz", "logs/{:02}.gz",
             "Rechnungen/März/Übersicht {:02}.pdf", "資料/報告書-{:02}.pdf", "tmp/", "README", "photos/🦀-{:02}.jpg")
    for n in range(ROWS):
        name = names[n % len(names)].format(n)
        size = chance.choice((0, 17, 2_000, 40_000, 300_000, 2_500_000))
        made = s3.put_object(OBJECTS, name, b"x" * size, storage=("STANDARD", "STANDARD", "GLACIER", "INTELLIGENT_TIERING")[n % 4])
        made.last_modified = ago(chance.choice((0, 1, 60, 700)))
    s3.delete_object(OBJECTS, "README")


def events(machines, users):
    """What happened in the last weeks."""
    every = (("DetachVolume", "ec2"), ("ConsoleLogin", "signin"), ("AuthorizeSecurityGroupIngress", "ec2"), ("PutBucketPolicy", "s3"),
             ("AssumeRoleWithWebIdentity", "sts"))
    happened = []
    for n in range(6 * ROWS):
        (name, service), user = every[n % len(every)], users[n * 7 % len(users)]
        who = {"arn": f"arn:aws:iam::{ACCOUNT}:user/{user}", "accessKeyId": KEY}
        if n % 4 == 3:
            user = f"{user}@example.com"
            issuer = {"arn": f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_AdministratorAccess_0af3a9c0d1e2b4a5"}
            who = {"arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSReservedSSO_AdministratorAccess_0af3a9c0d1e2b4a5/{user}", "accessKeyId": KEY,
                   "sessionContext": {"sessionIssuer": issuer}}
        named = [MACHINES[n % ROWS]] if n % 3 == 0 else [machines[0], f"vol-{n:017x}", f"arn:aws:s3:::example-payments-data-{n % 9:02}"][: n % 4]
        refused = {"errorCode": "Client.UnauthorizedOperation", "errorMessage": "You are not authorized to perform this operation."} if n % 11 == 0 else {}
        record = {"awsRegion": REGION if n % 5 else "eu-central-1",
                  "sourceIPAddress": ("198.51.100.17", "2001:db8::4a1", "cloudformation.amazonaws.com")[n % 3],
                  "userAgent": "aws-cli/2.15.30 md/awscrt#0.19.19 ua/2.0 os/linux#6.5.0 md/arch#x86_64 lang/python#3.11.8 cfg/retry-mode#standard",
                  "userIdentity": who, "requestParameters": {"instanceId": machines[0], "dryRun": False}, **refused}
        at = ago(n / 10).replace(tzinfo=datetime.timezone.utc).timestamp()
        happened.append({"EventId": f"{n:08x}-9a1b-4c2d-8e3f-0123456789ab", "EventName": name, "EventTime": int(at),
                         "EventSource": f"{service}.amazonaws.com", "Username": user,
                         "ReadOnly": "true" if name == "ConsoleLogin" else "false", "AccessKeyId": KEY, "CloudTrailEvent": json.dumps(record),
                         "Resources": [{"ResourceType": "AWS::EC2::Instance", "ResourceName": resource} for resource in named]})
    return sorted(happened, key=lambda event: -event["EventTime"])


def look_up(asked):
    """A page of the events, as CloudTrail gives them."""
    wanted = asked["LookupAttributes"][0]
    kind, value, begin = wanted["AttributeKey"], wanted["AttributeValue"], int(asked.get("NextToken", 0))
    is_wanted = (lambda event: any(resource["ResourceName"] == value for resource in event["Resources"])) if kind == "ResourceName" else (
        lambda event: event[{"EventName": "EventName", "Username": "Username", "AccessKeyId": "AccessKeyId"}[kind]] == value)
    first_second, last = asked.get("StartTime", 0), asked.get("EndTime", float("inf"))
    found = [event for event in EVENTS if is_wanted(event) and first_second <= event["EventTime"] <= last][begin:]
    return {"Events": found[:50], **({"NextToken": str(begin + 50)} if len(found) > 50 else {})}


def agents(_asked):
    """Of every third machine an agent; of some it is silent."""
    def agent(n, machine):
        at = ago(0 if n % 2 else 20 + n).replace(tzinfo=datetime.timezone.utc).timestamp()
        return {"InstanceId": machine, "PingStatus": "Online" if n % 2 else "ConnectionLost", "LastPingDateTime": at, "PlatformName": "Amazon Linux"}

    return {"InstanceInformationList": [agent(n, machine) for n, machine in enumerate(MACHINES) if n % 3 == 0]}


def figures(asked):
    """What CloudWatch measured in buckets yesterday: in most something in Standard, in some a good deal in Glacier, in the first nothing."""
    day = int(now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=datetime.timezone.utc).timestamp()) - 86_400

    def figure(query):
        metric = query["MetricStat"]["Metric"]
        of = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
        size = int(of["BucketName"].rpartition("-")[2]) ** 6
        value = {"StandardStorage": size, "GlacierStorage": size * 40 * (size % 2), "AllStorageTypes": size // 90_000}.get(of["StorageType"], 0)
        return {"Id": query["Id"], "StatusCode": "Complete", "Timestamps": [Moment(day)] if value else [], "Values": [float(value)] if value else []}

    return {"MetricDataResults": [figure(query) for query in asked["MetricDataQueries"]]}


class Moment(int):
    """Seconds since 1970, which CBOR tells from numbers."""


def encoded(value):
    """CBOR, as far as answers need it."""
    head = lambda major, n: bytes([major << 5 | 27]) + n.to_bytes(8, "big")  # noqa: E731
    match value:
        case Moment():
            return b"\xc1" + head(0, int(value))
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(encoded, value))
        case dict():
            return head(5, len(value)) + b"".join(encoded(part) for pair in value.items() for part in pair)


def decoded(stream):
    """A value of CBOR, as far as requests need it; `...` for the end of a list that did not say how long it is."""
    major, small = divmod(stream.read(1)[0], 32)
    if major == 7:
        return {20: False, 21: True, 31: ...}[small] if small < 26 or small == 31 else struct.unpack(">" + "fd"[small - 26], stream.read(4 << small - 26))[0]
    n = int.from_bytes(stream.read(1 << small - 24), "big") if 24 <= small < 28 else small
    parts = lambda: iter(lambda: decoded(stream), ...) if small == 31 else (decoded(stream) for _ in range(n))  # noqa: E731
    match major:
        case 0 | 1:
            return -1 - n if major else n
        case 2 | 3:
            return stream.read(n).decode()
        case 4:
            return list(parts())
        case 5:
            return {name: decoded(stream) for name in parts()}
        case _:
            return decoded(stream)


BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
KEY, OBJECTS = "AKIAIOSFODNN7EXAMPLE", "example-payments-data-00"
JSON_ANSWERS = {"LookupEvents": look_up, "DescribeInstanceInformation": agents}

logging.getLogger("werkzeug").setLevel(logging.ERROR)
threading.Thread(target=end_with_parent, daemon=True).start()
server = make_server("127.0.0.1", 0, mended(DomainDispatcherApplication(create_backend_app)), threaded=True)
ADDRESS = f"http://127.0.0.1:{server.server_port}"
threading.Thread(target=server.serve_forever, daemon=True).start()
urllib.request.urlopen(urllib.request.Request(f"{ADDRESS}/moto-api/seed?a=15", b"")).close()
account = ec2_backends[ACCOUNT][REGION]
account.snapshots.clear()  # Those that moto makes up for its images.
GROUPS = groups()
MACHINES = instances(account)
volumes(account, MACHINES)
snapshots(account)
addresses(MACHINES)
users(iam_backends[ACCOUNT]["aws"])
more_groups()
more_addresses(MACHINES)
images(account, MACHINES)
ROLES = list(roles(iam_backends[ACCOUNT]["aws"]))
policies(ROLES)
used(iam_backends[ACCOUNT]["aws"])
buckets(s3_backends[ACCOUNT]["aws"])
objects(s3_backends[ACCOUNT]["aws"])
EVENTS = events(MACHINES, list(iam_backends[ACCOUNT]["aws"].users))
print(ADDRESS, flush=True)
threading.Event().wait()
