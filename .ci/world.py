"""An account on moto that looks as an account does after some years, for `.ci/record`: prints its address, and ends when standard input closes.

Run by a python that has what `tests/requirements.txt` names. What there is comes through AWS's API; what the API does not let anybody choose, dates, is put
in behind it. The same every time but for the day.
"""

import datetime
import io
import logging
import os
import random
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
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
        asked = urllib.parse.parse_qs(body.decode("utf-8", "replace"))
        action = asked.get("Action", [""])[0]
        # moto passes over who may restore a snapshot: none of these is shared.
        if action in NOTHING or "RestorableBy.1" in asked:
            begin("200 OK", [("Content-Type", "text/xml")])
            return [f'<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>0</requestId></{action}Response>'.encode()]
        answered = moto(environ, begin)
        return [part.replace(MADE, now.strftime("%Y-%m-%dT%H:%M:%SZ").encode()) for part in answered] if action == "GetCredentialReport" else answered

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
print(ADDRESS, flush=True)
threading.Event().wait()
