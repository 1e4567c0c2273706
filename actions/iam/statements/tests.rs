use super::*;
use serde_json::json;

/// How risky a document with these statements is without `strict`, and with it.
fn risks(statements: Value) -> (Option<Risk>, Option<Risk>) {
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let document = Document::read(&document).expect("a document");
    (document.permissive(false).map(|p| p.risk), document.permissive(true).map(|p| p.risk))
}

fn allow(action: Value, resource: Value) -> (Option<Risk>, Option<Risk>) {
    risks(json!({"Effect": "Allow", "Action": action, "Resource": resource}))
}

const NO: (Option<Risk>, Option<Risk>) = (None, None);

fn both(risk: Risk) -> (Option<Risk>, Option<Risk>) {
    (Some(risk), Some(risk))
}

#[test]
fn the_two_modes() {
    assert_eq!(allow(json!("*"), json!("*")), both(Risk::Admin));
    assert_eq!(allow(json!("*:*"), json!(["arn:aws:s3:::b", "*"])), both(Risk::Admin));
    assert_eq!(allow(json!(["S3:Get*"]), json!("*")), both(Risk::Read));
    assert_eq!(allow(json!("s3:PutObjec?"), json!("*")), both(Risk::Write));
    assert_eq!(allow(json!("s3:*"), json!("arn:aws:s3:::b/*")), (None, Some(Risk::Write)));
    assert_eq!(allow(json!("ec2:DescribeInstances"), json!("*")), (None, Some(Risk::Read)));
    assert_eq!(allow(json!("s3:GetObject"), json!("arn:aws:s3:::b/*")), NO);
    assert_eq!(allow(json!([]), json!("*")), NO, "an empty list of actions grants nothing");
    assert_eq!(allow(json!("*"), json!([])), NO);
    assert_eq!(risks(json!([])), NO);
}

#[test]
fn all_that_a_service_has() {
    for wide in ["arn:aws:s3:::*", "arn:aws:s3:::*/*", "arn:aws:ec2:*:*:*", "arn:*", "arn:aws:s3:*", "**", "arn:aws:iam::123456789012:*"] {
        assert!(is_wide(wide), "{wide}");
    }
    for narrow in ["arn:aws:s3:::b/*", "arn:aws:iam::123456789012:role/*", "arn:aws:s3:::${*}", "arn:aws:s3:::${aws:username}", "", "?"] {
        assert!(!is_wide(narrow), "{narrow}");
    }
}

#[test]
fn all_but_some_is_nearly_all() {
    let power_user = json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"});
    assert_eq!(risks(power_user), both(Risk::Escalation), "no IAM, and any role to assume");
    assert_eq!(risks(json!({"Effect": "Allow", "NotAction": "nosuch:Action", "Resource": "*"})), both(Risk::Admin));
    assert_eq!(risks(json!({"Effect": "Allow", "NotAction": ["*"], "Resource": "*"})), NO, "all but everything is nothing");
    assert_eq!(risks(json!({"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::b"})), (None, Some(Risk::Write)));
    assert_eq!(risks(json!([{"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::b"}])), both(Risk::Write));
}

#[test]
fn a_deny_subtracts_what_it_surely_covers() {
    let with = |deny: Value| risks(json!([{"Effect": "Allow", "Action": ["s3:*", "ec2:RunInstances"], "Resource": "*"}, deny]));
    assert_eq!(with(json!({"Effect": "Deny", "Action": "*", "Resource": "*"})), NO);
    assert_eq!(with(json!({"Effect": "Deny", "NotAction": [], "Resource": "*"})), NO);
    assert_eq!(with(json!({"Effect": "Deny", "Action": "S3:*", "Resource": "*"})), (None, Some(Risk::Write)));
    for short in [
        json!({"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"}),
        json!({"Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::b"}),
        json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
        json!({"Effect": "Deny", "NotAction": "s3:Get*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
    ] {
        assert_eq!(with(short.clone()), both(Risk::Write), "{short}");
    }
}

#[test]
fn all_but_what_a_deny_names_is_worked_out() {
    let with = |deny: Value| risks(json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}, deny]));
    assert_eq!(
        with(json!({"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::b/*"})),
        (None, Some(Risk::Write)),
        "only b is left"
    );
    assert_eq!(with(json!({"Effect": "Deny", "Action": "s3:*", "NotResource": ["arn:aws:s3:::*"]})), both(Risk::Write));
    assert_eq!(with(json!({"Effect": "Deny", "Action": "ec2:*", "NotResource": "arn:aws:s3:::b"})), both(Risk::Write));
    assert_eq!(with(json!({"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"})), NO, "nothing but IAM, of which nothing is allowed");
    assert_eq!(with(json!({"Effect": "Deny", "NotAction": "s3:Get*", "Resource": "*"})), both(Risk::Read));
    assert_eq!(with(json!({"Effect": "Deny", "NotAction": "s3:GetObject", "NotResource": "arn:aws:s3:::b"})), (None, Some(Risk::Write)));
    let admin = json!([{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "NotAction": "s3:Get*", "NotResource": []}]);
    assert_eq!(risks(admin), both(Risk::Read));
}

#[test]
fn each_known_way_to_more_is_found_and_takes_all_its_actions() {
    let found = |actions: &[&str], resource: &str| -> Vec<&'static str> {
        let document = json!({"Statement": {"Effect": "Allow", "Action": actions, "Resource": resource}}).to_string();
        let found = Document::read(&document).expect("a document").permissive(false);
        found.map(|f| f.escalations.iter().map(|e| e.name).collect()).unwrap_or_default()
    };
    for escalation in ESCALATIONS {
        let actions: Vec<&str> = escalation.needs.iter().map(|need| need.action).collect();
        assert!(found(&actions, "*").contains(&escalation.name), "{}", escalation.name);
        assert!(escalation.source.contains("https://"), "{}", escalation.name);
        for left_out in &actions {
            let fewer: Vec<&str> = actions.iter().copied().filter(|action| action != left_out).collect();
            assert!(!found(&fewer, "*").contains(&escalation.name), "{} without {left_out}", escalation.name);
        }
        let others = ESCALATIONS.iter().filter(|other| other.name == escalation.name).count();
        assert_eq!(others, 1, "{} is there once", escalation.name);
    }
    assert_eq!(found(&["IAM:createPOLICYversion"], "*"), ["CreatePolicyVersion"], "actions have no case");
}

#[test]
fn ways_to_more_are_an_escalation_and_all_of_iam_makes_an_administrator() {
    let everywhere = |action: &str| allow(json!(action), json!("*"));
    for action in ["iam:AttachUserPolicy", "iam:CreatePolicyVersion", "sts:AssumeRole", "lambda:UpdateFunctionCode", "iam:Put*"] {
        assert_eq!(everywhere(action), both(Risk::Escalation), "{action}");
    }
    assert_eq!(everywhere("iam:PassRole"), (None, Some(Risk::Write)), "nothing to pass it to");
    assert_eq!(allow(json!(["iam:PassRole", "lambda:CreateFunction"]), json!("*")), both(Risk::Escalation));
    for all in [json!("*"), json!("arn:aws:iam::*:*"), json!(["arn:aws:iam::123456789012:role/*", "arn:aws:iam::123456789012:user/*"])] {
        assert_eq!(allow(json!("iam:*"), all.clone()), both(Risk::Admin), "{all}");
    }
    assert_eq!(allow(json!("iam:*"), json!("arn:aws:iam::123456789012:policy/*")), both(Risk::Escalation));
    assert_eq!(allow(json!("iam:*"), json!("arn:aws:iam::123456789012:mfa/*")), (None, Some(Risk::Write)));
    // Across statements, and on oneself.
    let apart = json!([
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::123456789012:role/*"},
        {"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "*"},
    ]);
    assert_eq!(risks(apart), both(Risk::Escalation));
    assert_eq!(allow(json!("iam:PutUserPolicy"), json!("arn:aws:iam::123456789012:user/${aws:username}")), both(Risk::Escalation));
    assert_eq!(allow(json!("iam:PutUserPolicy"), json!("arn:aws:iam::123456789012:user/bob")), (None, Some(Risk::Escalation)));
    assert_eq!(allow(json!("iam:PutUserPolicy"), json!("arn:aws:s3:::*")), (None, Some(Risk::Write)), "not what it applies to");
    assert_eq!(allow(json!(["iam:PassRole", "lambda:CreateFunction"]), json!("arn:aws:s3:::*")), (None, Some(Risk::Write)));
    assert!(Risk::Read < Risk::Write && Risk::Write < Risk::Escalation && Risk::Escalation < Risk::Admin);
}

#[test]
fn all_of_a_kind_is_written_in_more_than_one_way() {
    for all in ["arn:aws:iam::123456789012:user/*", "arn:aws:iam::123456789012:user*", "arn:aws:iam::*:u*", "arn:aws:iam::*:*/*"] {
        assert_eq!(allow(json!("iam:PutUserPolicy"), json!(all)), both(Risk::Escalation), "{all}");
    }
    assert_eq!(allow(json!("iam:*"), json!("arn:aws:iam::123456789012:role*")), both(Risk::Admin));
    for some in ["arn:aws:iam::123456789012:user/b*", "arn:aws:iam::123456789012:users*"] {
        assert_ne!(allow(json!("iam:PutUserPolicy"), json!(some)).0, Some(Risk::Escalation), "{some}");
    }
}

#[test]
fn a_role_is_handed_to_what_is_made_under_whatever_name() {
    let with = |actions: &[&str], resource: &str| {
        risks(json!([
            {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::123456789012:role/*"},
            {"Effect": "Allow", "Action": actions, "Resource": resource},
        ]))
        .0
    };
    assert_eq!(with(&["lambda:CreateFunction"], "arn:aws:lambda:eu-west-1:123456789012:function:team-*"), Some(Risk::Escalation));
    assert_eq!(with(&["cloudformation:CreateStack"], "arn:aws:cloudformation:*:*:stack/team-a/*"), Some(Risk::Escalation));
    assert_eq!(
        with(&["glue:UpdateJob", "glue:StartJobRun"], "arn:aws:glue:*:*:job/team-a"),
        None,
        "one that is there may have no role to speak of"
    );
    assert_eq!(with(&["lambda:CreateFunction"], "arn:aws:s3:::*"), None, "no function is there");
}

#[test]
fn a_deny_closes_a_way_to_more() {
    let with = |deny: Value| risks(json!([{"Effect": "Allow", "Action": ["iam:PutUserPolicy", "s3:GetObject"], "Resource": "*"}, deny]));
    assert_eq!(with(json!({"Effect": "Deny", "Action": "iam:*", "Resource": "*"})), (None, Some(Risk::Read)));
    assert_eq!(with(json!({"Effect": "Deny", "Action": "iam:*", "Resource": "arn:aws:iam::*:user/*"})), both(Risk::Escalation), "cautious");
    assert_eq!(with(json!({"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"})), (None, Some(Risk::Read)));
}

#[test]
fn patterns_have_something_in_common_or_not() {
    let intersect = |a: &str, b: &str| super::intersect(a.as_bytes(), b.as_bytes());
    for (a, b) in [("", ""), ("*", ""), ("a*", "*b"), ("a?c", "ab*"), ("*a*", "b*"), ("s3:get*", "s3:*object"), ("?", "*")] {
        assert!(intersect(a, b) && intersect(b, a), "{a} {b}");
    }
    for (a, b) in [("a", ""), ("a*", "b*"), ("s3:*", "ec2:*"), ("?", ""), ("*a", "*b"), ("a?", "a")] {
        assert!(!intersect(a, b) && !intersect(b, a), "{a} {b}");
    }
}

#[test]
fn patterns_cover_patterns() {
    let covers = |a: &str, b: &str| super::covers(a.as_bytes(), b.as_bytes());
    assert!(covers("s3:*", "s3:get*") && covers("s3:*get*", "s3:get?") && covers("s3:ge?", "s3:get") && covers("s3:ge?", "s3:ge?"));
    assert!(!covers("s3:get", "s3:get*") && !covers("s3:ge?", "s3:ge*") && !covers("s3:get*", "s3:*") && !covers("s3:get*", ""));
    assert!(covers("*a*b", "aaxab") && !covers("*a*b", "aaxa"));
}

#[test]
fn conditions_are_shown() {
    let document = json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"x": "true"}}}});
    let found = Document::read(&document.to_string()).expect("a document").permissive(false).expect("it is permissive");
    assert!(found.conditional);
    assert_eq!(Value::Object(found.statements[0].clone()), document["Statement"]);
}

#[test]
fn i11_documents_are_percent_encoded() {
    let encoded = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22a:b+c*%22%2C%22Resource%22%3A%22*%22%7D%7D";
    let found = Document::read(encoded).expect("a document").permissive(false).expect("it is permissive");
    assert_eq!(found.statements[0]["Action"], "a:b+c*", "a plus sign is no space");
    for wrong in ["", "%FF", "%7B", "[]", "{}", r#"{"Statement":[1]}"#, r#"{"Statement":{"Effect":"Allow","Resource":"*"}}"#] {
        assert!(Document::read(wrong).is_err(), "{wrong}");
    }
}
