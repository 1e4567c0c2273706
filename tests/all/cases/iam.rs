//! The actions of IAM, on moto.

use crate::support::Account;
use crate::support::aaws::Aaws;
use crate::support::cases::{CHANGED, Case, MISSING, Place, SO_ALREADY, Takes, Then};
use crate::support::http::Server;
use crate::support::{moto, xml};

impl Place for Account {
    const DENIED: &'static str = "AccessDenied";
    const THROTTLED: &'static str = "Throttling";

    fn fresh() -> Self {
        Account::fresh()
    }

    fn url(&self) -> String {
        moto::endpoint().to_owned()
    }

    fn aaws(&self, server: &Server, line: &str) -> Aaws {
        self.aaws(line).endpoint(&server.url)
    }
}

/// The name of the policy that ends sessions.
const ENDS_SESSIONS: &str = "AWSRevokeOlderSessions";

/// Actions that are not among the cases, and why.
pub const APART: &[(&str, &str)] = &[(
    "iam/quarantine_user",
    "what it changes are the parts of one user, who is locked out whole and not part by part: `plan` has what becomes of one that is new, and its requests fail \
     as those of the others do",
)];

/// What a user is locked out of, part by part.
pub const PARTS: &[Case<Account>] = &[Case {
    action: "iam/quarantine_user",
    make: |account, numbers| {
        let user = new_user(account, numbers.start);
        account.iam("CreateLoginProfile", &[("UserName", &user), ("Password", "Correct-Horse-7-Battery")]);
        let key = xml::texts(&account.iam("CreateAccessKey", &[("UserName", &user)]), "AccessKeyId").remove(0);
        ["deny".to_owned(), "sessions".to_owned(), format!("access key {key}"), "console password".to_owned()]
            .map(|part| format!("{user}: {part}"))
            .to_vec()
    },
    line: |_, ids| {
        let (user, _) = ids[0].split_once(": ").expect("a part of a user");
        // The rest of what a user may have, moto does not know.
        format!("iam quarantine_user --keep_service_credentials --keep_ssh_keys --keep_signing_certificates --user {user}")
    },
    is_done: |account, id| {
        let (user, part) = id.split_once(": ").expect("a part of a user");
        let has =
            |policy: &str| account.try_call("iam", &format!("Action=GetUserPolicy&UserName={user}&PolicyName={policy}")).status == 200;
        match part.strip_prefix("access key ") {
            Some(key) => keys(account).iter().any(|(_, id, status)| id == key && status == "Inactive"),
            None if part == "deny" => has("aaws-quarantine-deny-all"),
            None if part == "sessions" => has("aaws-quarantine-end-sessions"),
            None => !has_password(account, user),
        }
    },
    takes: Takes::Parts,
    change: Then::Never("a part is no item of a plan that holds by itself"),
    remove: Then::Never("a part is no item of a plan that holds by itself"),
}];

pub const CASES: &[Case<Account>] = &[
    Case {
        action: "iam/delete_access_keys",
        make: |account, numbers| {
            numbers
                .map(|number| {
                    let key = key_of_new_user(account, number);
                    set(account, &key, "Inactive");
                    key
                })
                .collect()
        },
        line: |account, ids| format!("iam delete_access_keys{}", with_users(account, ids)),
        is_done: |account, id| keys(account).iter().all(|(_, key, _)| key != id),
        takes: Takes::Many,
        change: Then::Done(|account, id| set(account, id, "Active"), CHANGED),
        remove: Then::Done(delete_key, SO_ALREADY),
    },
    Case {
        action: "iam/modify_access_keys",
        make: |account, numbers| numbers.map(|number| key_of_new_user(account, number)).collect(),
        line: |account, ids| format!("iam modify_access_keys --disable{}", with_users(account, ids)),
        is_done: |account, id| keys(account).iter().any(|(_, key, status)| key == id && status == "Inactive"),
        takes: Takes::Many,
        change: Then::Done(|account, id| set(account, id, "Inactive"), SO_ALREADY),
        remove: Then::Done(delete_key, MISSING),
    },
    Case {
        action: "iam/modify_users_console_access",
        make: |account, numbers| {
            numbers
                .map(|number| {
                    let user = new_user(account, number);
                    account.iam("CreateLoginProfile", &[("UserName", &user), ("Password", "Correct-Horse-7-Battery")]);
                    user
                })
                .collect()
        },
        line: |_, ids| {
            let users: String = ids.iter().map(|user| format!(" --user {user}")).collect();
            format!("iam modify_users_console_access --disable{users}")
        },
        is_done: |account, id| !has_password(account, id),
        takes: Takes::Many,
        change: Then::Done(take_password, SO_ALREADY),
        remove: Then::Done(
            |account, id| {
                take_password(account, id);
                account.iam("DeleteUser", &[("UserName", id)]);
            },
            MISSING,
        ),
    },
    Case {
        action: "iam/revoke_role_sessions",
        make: |account, numbers| {
            numbers
                .map(|number| {
                    let role = format!("role-{number}");
                    let trust = r#"{"Version":"2012-10-17","Statement":[]}"#;
                    account.iam("CreateRole", &[("RoleName", &role), ("AssumeRolePolicyDocument", trust)]);
                    role
                })
                .collect()
        },
        line: |_, ids| format!("iam revoke_role_sessions --roles {}", ids.join(" ")),
        is_done: |account, id| {
            let policy = account.try_call("iam", &format!("Action=GetRolePolicy&RoleName={id}&PolicyName={ENDS_SESSIONS}"));
            policy.text().contains("TokenIssueTime")
        },
        takes: Takes::Many,
        change: Then::Done(
            |account, id| {
                let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}"#;
                account.iam("PutRolePolicy", &[("RoleName", id), ("PolicyName", ENDS_SESSIONS), ("PolicyDocument", policy)]);
            },
            CHANGED,
        ),
        remove: Then::Done(|account, id| drop(account.iam("DeleteRole", &[("RoleName", id)])), MISSING),
    },
];

fn new_user(account: &Account, number: usize) -> String {
    let user = format!("user-{number}");
    account.iam("CreateUser", &[("UserName", &user)]);
    user
}

/// A user has two keys at most, so each gets one of a user of its own.
fn key_of_new_user(account: &Account, number: usize) -> String {
    let user = new_user(account, number);
    xml::texts(&account.iam("CreateAccessKey", &[("UserName", &user)]), "AccessKeyId").remove(0)
}

/// All keys of the account's users: whose they are, their ids, and their status.
fn keys(account: &Account) -> Vec<(String, String, String)> {
    let users = xml::texts(&account.iam("ListUsers", &[]), "UserName");
    let of = |user: String| {
        let listed = account.iam("ListAccessKeys", &[("UserName", &user)]);
        let keys = xml::texts(&listed, "AccessKeyId").into_iter().zip(xml::texts(&listed, "Status"));
        keys.map(|(id, status)| (user.clone(), id, status)).collect::<Vec<_>>()
    };
    users.into_iter().flat_map(of).collect()
}

fn owner(account: &Account, id: &str) -> String {
    keys(account).into_iter().find(|(_, key, _)| key == id).map(|(user, ..)| user).expect("somebody has the key")
}

fn with_users(account: &Account, ids: &[String]) -> String {
    ids.iter().map(|id| format!(" --key {id} {}", owner(account, id))).collect()
}

fn set(account: &Account, id: &str, status: &str) {
    account.iam("UpdateAccessKey", &[("UserName", &owner(account, id)), ("AccessKeyId", id), ("Status", status)]);
}

fn delete_key(account: &Account, id: &str) {
    account.iam("DeleteAccessKey", &[("UserName", &owner(account, id)), ("AccessKeyId", id)]);
}

fn has_password(account: &Account, user: &str) -> bool {
    account.try_call("iam", &format!("Action=GetLoginProfile&UserName={user}")).status == 200
}

fn take_password(account: &Account, user: &str) {
    account.iam("DeleteLoginProfile", &[("UserName", user)]);
}
