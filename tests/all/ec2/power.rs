//! Starting and stopping instances: together, awaited, refused for some and not for the others, and undone.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::deleting::{Said, planned, reported};
use crate::support::ec2::{World, writes};
use crate::support::{Aaws, Response, directory, outcomes, report, xml};

/// A world, and the state directory of whoever runs the program in it.
struct Desk {
    world: World,
    state: TempDir,
}

impl Desk {
    fn new() -> Self {
        Desk { world: World::new(), state: directory() }
    }

    fn aaws(&self, line: &str) -> Aaws {
        self.world.aaws(line).env("XDG_STATE_HOME", self.state.path())
    }
}

#[track_caller]
fn is(world: &World, instance: &str, state: &str) {
    assert_eq!(world.instance_state(instance).as_deref(), Some(state), "{instance}");
}

fn stopped(world: &World) -> String {
    let id = world.instance(&[]).id;
    world.stop(&id);
    id
}

fn protect(world: &World, instance: &str, value: &str) {
    world.ec2("ModifyInstanceAttribute", &[("InstanceId", instance), ("DisableApiStop.Value", value)]);
}

// --- Together, and awaited ---

#[test]
fn instances_are_stopped_and_started_together() {
    let world = World::new();
    let machines: Vec<String> = (0..8).map(|_| world.instance(&[]).id).collect();
    let (first, others) = (&machines[0], &machines[1..]);
    world.stop(first);
    let all = machines.join(" ");
    for (action, operation, state) in [("stop_instances", "StopInstances", "stopped"), ("start_instances", "StartInstances", "running")] {
        let server = world.proxy().start();
        let (output, said) = reported(&world, &server, &format!("{action} --instance_ids {all}"));
        // The first is stopped already when the others are stopped, and is started with them.
        let changed = if state == "stopped" { others } else { &machines[..] };
        assert_eq!(output.ok().json(), json!(changed));
        assert_eq!(said.0.iter().filter(|line| line["status"] == "done").count(), changed.len(), "{:?}", said.0);
        machines.iter().for_each(|id| is(&world, id, state));
        let sent = writes(&server);
        assert!(sent.iter().all(|name| name == operation) && sent.len() <= 4, "{:?}", server.operations());
        assert_eq!(server.count("DescribeInstanceAttribute"), 0);
    }
}

#[test]
fn an_instance_that_takes_its_time_is_awaited_unless_nobody_wants_to_wait() {
    let world = World::new();
    let slow = || {
        world.proxy().rewrite("DescribeInstances", |n, xml| {
            let (end, between) = (["stopped", "running"], ["stopping", "pending"]);
            // The first look is at how it is before.
            let seen = |xml: String, at: usize| xml.replace(&format!("<name>{}</name>", end[at]), &format!("<name>{}</name>", between[at]));
            if (2..=4).contains(&n) { seen(seen(xml, 0), 1) } else { xml }
        })
    };
    let id = world.instance(&[]).id;
    for (action, state) in [("stop_instances", "stopped"), ("start_instances", "running")] {
        let server = slow().start();
        assert_eq!(world.aaws_via(&server, format!("ec2 {action} --instance_ids {id}")).run().ok().json(), json!([id]));
        assert!(server.count("DescribeInstances") >= 5, "{:?}", server.operations());
        is(&world, &id, state);
    }
    for action in ["stop_instances", "start_instances"] {
        let server = slow().start();
        assert_eq!(world.aaws_via(&server, format!("ec2 {action} --instance_ids {id} --no_wait")).run().ok().json(), json!([id]));
        assert_eq!(server.count("DescribeInstances"), 1);
    }
}

#[test]
fn an_instance_between_two_states_is_told_when_it_can_be() {
    let world = World::new();
    let (up, down) = (world.instance(&[]).id, stopped(&world));
    let cases =
        [("stop_instances", &up, ["running", "pending"], "stopped"), ("start_instances", &down, ["stopped", "stopping"], "running")];
    for (action, id, [was, seemed], state) in cases {
        let server = world
            .proxy()
            .rewrite("DescribeInstances", move |n, xml| {
                if n <= 3 { xml.replace(&format!("<name>{was}</name>"), &format!("<name>{seemed}</name>")) } else { xml }
            })
            .start();
        assert_eq!(world.aaws_via(&server, format!("ec2 {action} --instance_ids {id}")).run().ok().json(), json!([id]));
        let log = server.operations();
        let told = log.iter().position(|name| writes(&server).contains(name)).expect("it is told");
        assert!(log[..told].iter().filter(|name| *name == "DescribeInstances").count() >= 4, "{log:?}");
        is(&world, id, state);
    }
}

#[test]
fn an_instance_that_is_being_stopped_already_is_only_awaited_unless_it_is_forced() {
    let world = World::new();
    let id = stopped(&world);
    let stopping =
        || {
            world.proxy().rewrite("DescribeInstances", |n, xml| {
                if n <= 3 { xml.replace("<name>stopped</name>", "<name>stopping</name>") } else { xml }
            })
        };
    let server = stopping().start();
    let (output, said) = reported(&world, &server, &format!("stop_instances --instance_ids {id}"));
    assert_eq!((output.ok().json(), said.status(&id)), (json!([]), "unchanged"));
    assert!(server.count("DescribeInstances") >= 4 && writes(&server).is_empty(), "{:?}", server.operations());

    let server = stopping().start();
    let (output, said) = reported(&world, &server, &format!("stop_instances --instance_ids {id} --no_wait"));
    assert_eq!((output.ok().json(), said.status(&id), server.count("DescribeInstances")), (json!([]), "unchanged", 1));

    let server = stopping().start();
    assert_eq!(world.aaws_via(&server, format!("ec2 stop_instances --instance_ids {id} --force")).run().ok().json(), json!([id]));
    assert_eq!(writes(&server), ["StopInstances"]);
    assert!(server.requests("StopInstances")[0].text().contains("Force=true"));
}

#[test]
fn a_stop_that_is_no_longer_awaited_goes_on() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let server = world.proxy().rewrite("DescribeInstances", |_, xml| xml.replace("<name>stopped</name>", "<name>stopping</name>")).start();
    let folder = directory();
    let line = format!("ec2 stop_instances --instance_ids {id} --report report.jsonl");
    let running = world.aaws_via(&server, line).within(folder.path()).start();
    server.wait_for("StopInstances", 1);
    server.wait_for("DescribeInstances", server.count("DescribeInstances") + 1);
    running.signal("INT");
    running.wait().exits(130);
    let said = Said(report(&folder));
    assert_eq!(said.code(&id), "NotAwaited", "{:?}", said.0);
    assert_eq!(writes(&server), ["StopInstances"], "it is not started again");
    is(&world, &id, "stopped");
}

#[test]
fn a_start_that_ec2_takes_back_fails_with_its_reason() {
    let world = World::new();
    let id = stopped(&world);
    let server = world
        .proxy()
        .rule("StartInstances", |_, _| {
            Some(Response::xml(200, "<StartInstancesResponse><instancesSet></instancesSet></StartInstancesResponse>"))
        })
        .rewrite("DescribeInstances", |n, xml| {
            let code = xml.replace("<code>Client.UserInitiatedShutdown</code>", "<code>Server.InsufficientInstanceCapacity</code>");
            let told = code.replace("User initiated shutdown", "There is no capacity for it");
            if n > 1 { told } else { xml }
        })
        .start();
    let (output, said) = reported(&world, &server, &format!("start_instances --instance_ids {id}"));
    assert_eq!(output.exits(3).json(), json!([]));
    assert_eq!(said.code(&id), "NotComplete");
    assert!(said.why(&id).contains("There is no capacity for it"), "{:?}", said.0);
}

/// An answer in which the instances that run are shown as stopped, because there was no capacity for them.
fn without_capacity(xml: &str) -> String {
    let mut shown = String::new();
    for (n, part) in xml.split("<stateReason>").enumerate() {
        let rest = if n == 0 { part } else { part.split_once("</stateReason>").map_or(part, |(_, rest)| rest) };
        if n > 0 {
            shown.push_str(
                "<stateReason><code>Server.InsufficientInstanceCapacity</code><message>There is no capacity</message></stateReason>",
            );
        }
        shown.push_str(rest);
    }
    shown.replace("<name>running</name>", "<name>stopped</name>")
}

/// What is shown is behind: the reason is that of the start before.
#[test]
fn a_start_is_not_taken_for_failed_by_the_reason_of_an_earlier_one() {
    let desk = Desk::new();
    let world = &desk.world;
    let id = stopped(world);
    let server = world.proxy().rewrite("DescribeInstances", |n, xml| if n <= 6 { without_capacity(&xml) } else { xml }).start();
    assert_eq!(desk.aaws(&format!("ec2 start_instances --instance_ids {id}")).endpoint(&server.url).run().ok().json(), json!([id]));
    desk.aaws("undo").run().ok();
    is(world, &id, "stopped");
}

#[test]
fn an_instance_that_somebody_starts_while_it_stops_is_not_waited_for_without_end() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let server = world
        .proxy()
        .rewrite("DescribeInstances", |n, xml| match n {
            1 => xml,
            2..=4 => xml.replace("<name>stopped</name>", "<name>stopping</name>"),
            _ => xml.replace("<name>stopped</name>", "<name>running</name>"),
        })
        .start();
    let (output, said) = reported(&world, &server, &format!("stop_instances --instance_ids {id}"));
    assert_eq!(output.exits(3).json(), json!([]));
    assert_eq!(said.code(&id), "NotComplete");
    assert!(said.why(&id).contains("running again"), "{:?}", said.0);
}

// --- What cannot be stopped, and what a plan says ---

#[test]
fn what_cannot_be_stopped_is_told_and_keeps_no_other_from_it() {
    let world = World::new();
    let [plain, protected, grouped, gone] = [(); 4].map(|()| world.instance(&[]).id);
    protect(&world, &protected, "true");
    world.tag(&grouped, "aws:autoscaling:groupName", "web");
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    let server = world.proxy().start();
    let line = format!("stop_instances --instance_ids {plain} {protected} {grouped} {gone} i-0000000000000bad");
    // The report has all of them; a dry run prints those that would be stopped.
    let (output, plan) = reported(&world, &server, &format!("{line} --dry_run"));
    assert_eq!(output.exits(3).json().as_array().map(Vec::len), Some(1));
    assert_eq!(writes(&server), [""; 0]);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), json!([plain]));
    said.is_what_became_of(&plan);
    for said in [&plan, &said] {
        let codes = [protected.as_str(), grouped.as_str(), gone.as_str(), "i-0000000000000bad"].map(|id| said.code(id));
        assert_eq!(codes, ["Protected", "AutoScaling", "IncorrectInstanceState", "NotFound"], "{:?}", said.0);
        assert!(said.why(&grouped).contains("`web`") && said.why(&protected).contains("disableApiStop"), "{:?}", said.0);
    }
    is(&world, &plain, "stopped");
    [&protected, &grouped].iter().for_each(|id| is(&world, id, "running"));

    let line = format!("stop_instances --instance_ids {grouped} {grouped} --auto_scaling");
    assert!(planned(&world, &server, &line, 0).why(&grouped).contains("terminates and replaces it"));
    let (output, said) = reported(&world, &server, &line);
    assert_eq!((output.ok().json(), said.statuses()), (json!([grouped]), vec!["done", "unchanged"]));
}

#[test]
fn an_instance_that_ec2_will_not_stop_and_does_not_name_is_found() {
    let world = World::new();
    let machines: Vec<String> = (0..4).map(|_| world.instance(&[]).id).collect();
    let spot = machines[2].clone();
    let server = world
        .proxy()
        .rule("StopInstances", move |_, request| {
            let names = request.text().split('&').any(|pair| pair.split_once('=').is_some_and(|(_, value)| value == spot));
            names.then(|| crate::support::proxy::error(request, 400, "UnsupportedOperation"))
        })
        .start();
    let (output, said) = reported(&world, &server, &format!("stop_instances --instance_ids {}", machines.join(" ")));
    let others: Vec<&String> = machines.iter().filter(|id| **id != machines[2]).collect();
    assert_eq!(output.exits(3).json(), json!(others));
    assert_eq!(said.code(&machines[2]), "UnsupportedOperation");
}

#[test]
fn instances_that_cannot_be_stopped_by_what_they_are_are_refused_before_anything_is_sent() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let managed = "<operator><managed>true</managed><principal>eks.amazonaws.com</principal></operator><instanceState>";
    let cases = [
        ("<rootDeviceType>ebs</rootDeviceType>", "<rootDeviceType>instance-store</rootDeviceType>", "Unsupported"),
        ("<instanceState>", managed, "Managed"),
    ];
    for (was, seemed, code) in cases {
        let server = world.proxy().rewrite("DescribeInstances", move |_, xml| xml.replace(was, seemed)).start();
        let (output, said) = reported(&world, &server, &format!("stop_instances --instance_ids {id}"));
        output.exits(3);
        assert_eq!((said.code(&id), writes(&server)), (code, vec![]), "{:?}", said.0);
    }
}

#[test]
fn only_instances_that_were_launched_for_it_hibernate() {
    let world = World::new();
    let (able, plain) = (world.instance(&[("HibernationOptions.Configured", "true")]).id, world.instance(&[]).id);
    let server = world.proxy().start();
    let line = format!("stop_instances --instance_ids {able} {plain} --hibernate");
    let plan = planned(&world, &server, &line, 3);
    assert!(plan.why(&able).contains("hibernated"), "{:?}", plan.0);
    let (output, said) = reported(&world, &server, &line);
    assert_eq!(output.exits(3).json(), json!([able]));
    assert_eq!(said.code(&plain), "UnsupportedHibernationConfiguration");
    assert!(server.requests("StopInstances").iter().all(|request| request.text().contains("Hibernate=true")));
    world.aaws(format!("ec2 stop_instances --instance_ids {able} --hibernate --force")).run().exits(2).silent();
}

#[test]
fn a_public_address_that_does_not_come_back_is_named_before_and_after() {
    let world = World::new();
    let (lent, elastic) = (world.instance(&[]).id, world.instance(&[]).id);
    let made = world.ec2("AllocateAddress", &[("Domain", "vpc")]);
    let allocation = xml::texts(&made, "allocationId").remove(0);
    world.ec2("AssociateAddress", &[("InstanceId", &elastic), ("AllocationId", &allocation)]);
    let server = world.proxy().start();
    let line = format!("stop_instances --instance_ids {lent} {elastic}");
    let plan = planned(&world, &server, &line, 0);
    let (_, said) = reported(&world, &server, &line);
    for said in [&plan, &said] {
        assert!(said.why(&lent).contains("is not elastic, and is another one after the stop"), "{:?}", said.0);
        assert!(!said.why(&elastic).contains("elastic"), "{:?}", said.0);
    }
}

#[test]
fn a_protection_that_cannot_be_looked_at_is_told_by_the_plan() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let server = world.proxy().refuse("DescribeInstanceAttribute", 403, "UnauthorizedOperation").start();
    let plan = planned(&world, &server, &format!("stop_instances --instance_ids {id}"), 0);
    assert!(plan.why(&id).contains("could not be looked at") && plan.why(&id).contains("UnauthorizedOperation"), "{:?}", plan.0);
}

#[test]
fn stopping_is_asked_about_and_starting_is_not() {
    let world = World::new();
    let (up, down) = (world.instance(&[]).id, stopped(&world));
    let declined = world.aaws(format!("ec2 stop_instances --instance_ids {up} {down}")).on_terminal("n").exits(4);
    // What is stopped already is no matter.
    assert!(declined.stdout.contains(&up) && !declined.stdout.contains(&down), "{declined}");
    is(&world, &up, "running");
    world.aaws(format!("ec2 stop_instances --instance_ids {up}")).on_terminal("y").ok();
    is(&world, &up, "stopped");
    let started = world.aaws(format!("ec2 start_instances --instance_ids {down}")).on_terminal("n").ok();
    assert!(!started.stdout.contains("[y/N]"), "{started}");
    is(&world, &down, "running");
}

// --- Undone ---

#[test]
fn only_what_the_run_stopped_is_started_again() {
    let desk = Desk::new();
    let world = &desk.world;
    let (mine, idle, theirs) = (world.instance(&[]).id, stopped(world), world.instance(&[]).id);
    desk.aaws(&format!("ec2 stop_instances --instance_ids {mine} {idle} {theirs}")).run().ok();
    world.ec2("StartInstances", &[("InstanceId.1", &theirs)]);
    let undone = desk.aaws("undo").run().ok().json();
    assert_eq!(outcomes(&undone), [(theirs.as_str(), "unchanged"), (mine.as_str(), "done")]);
    is(world, &mine, "running");
    is(world, &idle, "stopped");

    // The undo is a run that can be undone itself.
    let runs = desk.aaws("log").run().ok().json();
    let undo = runs[0]["id"].as_str().unwrap_or_default().to_owned();
    desk.aaws(&format!("undo {undo}")).run().ok();
    is(world, &mine, "stopped");
    is(world, &theirs, "running");
}

#[test]
fn only_what_the_run_started_is_stopped_again() {
    let desk = Desk::new();
    let world = &desk.world;
    let (mine, gone, up) = (stopped(world), stopped(world), world.instance(&[]).id);
    desk.aaws(&format!("ec2 start_instances --instance_ids {mine} {gone} {up}")).run().ok();
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    let undone = desk.aaws("undo").run().exits(3).json();
    assert_eq!(outcomes(&undone), [(gone.as_str(), "skipped"), (mine.as_str(), "done")]);
    is(world, &mine, "stopped");
    is(world, &up, "running");
}

#[test]
fn what_was_refused_and_stopped_by_somebody_else_later_is_not_started() {
    let desk = Desk::new();
    let world = &desk.world;
    let id = world.instance(&[]).id;
    protect(world, &id, "true");
    desk.aaws(&format!("ec2 stop_instances --instance_ids {id}")).run().exits(3);
    protect(world, &id, "false");
    world.stop(&id);
    let server = world.proxy().start();
    let undone = desk.aaws("undo").endpoint(&server.url).run().ok().json();
    assert_eq!((undone, writes(&server)), (json!([]), vec![]));
    is(world, &id, "stopped");
}

// --- Metadata options ---

/// The metadata options of an instance: tokens, hop limit, endpoint, tags.
fn metadata(world: &World, id: &str) -> [String; 4] {
    let found = world.ec2("DescribeInstances", &[("InstanceId.1", id)]);
    ["httpTokens", "httpPutResponseHopLimit", "httpEndpoint", "instanceMetadataTags"].map(|name| xml::texts(&found, name).remove(0))
}

fn set(world: &World, id: &str, option: &str, value: &str) {
    world.ec2("ModifyInstanceMetadataOptions", &[("InstanceId", id), (option, value)]);
}

#[test]
fn tokens_are_required_where_nothing_else_is_asked_for_and_all_else_stays() {
    let world = World::new();
    let (open, strict) = (world.instance(&[]).id, world.instance(&[]).id);
    set(&world, &open, "HttpPutResponseHopLimit", "3");
    set(&world, &strict, "HttpTokens", "required");
    let server = world.proxy().start();
    let (output, said) = reported(&world, &server, &format!("modify_metadata_options --instance_ids {open} {strict}"));
    assert_eq!((output.ok().json(), said.status(&strict)), (json!([open]), "unchanged"));
    assert_eq!(writes(&server), ["ModifyInstanceMetadataOptions"]);
    assert_eq!(metadata(&world, &open), ["required", "3", "enabled", "disabled"]);

    // What is not given is not changed, the tokens neither.
    let other = world.instance(&[]).id;
    let line =
        format!("ec2 modify_metadata_options --instance_ids {other} --http_put_response_hop_limit 2 --instance_metadata_tags enabled");
    world.aaws(line).run().ok();
    assert_eq!(metadata(&world, &other), ["optional", "2", "enabled", "enabled"]);
}

#[test]
fn a_hop_limit_that_ec2_does_not_take_is_a_mistake_of_the_input() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let server = world.proxy().start();
    for hops in ["0", "65"] {
        let line = format!("ec2 modify_metadata_options --instance_ids {id} --http_put_response_hop_limit {hops}");
        world.aaws_via(&server, line).run().exits(2).silent().logs("http_put_response_hop_limit");
    }
    assert_eq!(server.operations(), [""; 0]);
}

#[test]
fn options_are_awaited_until_they_are_in_effect() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let server = world
        .proxy()
        .rewrite("DescribeInstances", |n, xml| match n {
            // At first it is still shown as it was.
            2 => xml.replace("<httpTokens>required</httpTokens>", "<httpTokens>optional</httpTokens>"),
            3..=5 => xml.replace("<state>applied</state>", "<state>pending</state>"),
            _ => xml,
        })
        .start();
    assert_eq!(world.aaws_via(&server, format!("ec2 modify_metadata_options --instance_ids {id}")).run().ok().json(), json!([id]));
    assert!(server.count("DescribeInstances") >= 6, "{:?}", server.operations());
}

#[test]
fn one_instance_that_is_denied_or_gone_keeps_no_other_from_it() {
    let world = World::new();
    let (denied, gone, plain) = (world.instance(&[]).id, world.instance(&[]).id, world.instance(&[]).id);
    world.ec2("TerminateInstances", &[("InstanceId.1", &gone)]);
    let body: &'static str = Box::leak(format!("InstanceId={denied}").into_boxed_str());
    let server = world.proxy().refuse_with("ModifyInstanceMetadataOptions", body, 403, "UnauthorizedOperation").start();
    let (output, said) = reported(&world, &server, &format!("modify_metadata_options --instance_ids {denied} {gone} {plain}"));
    assert_eq!(output.exits(3).json(), json!([plain]));
    assert_eq!((said.code(&denied), said.code(&gone)), ("UnauthorizedOperation", "IncorrectInstanceState"), "{:?}", said.0);
}

#[test]
fn an_endpoint_is_switched_off_behind_all_other_changes() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let server = world.proxy().start();
    let line = format!("ec2 modify_metadata_options --instance_ids {id} --http_tokens required --http_endpoint disabled");
    world.aaws_via(&server, line).run().ok();
    let sent: Vec<String> = server.requests("ModifyInstanceMetadataOptions").iter().map(|request| request.text()).collect();
    let has = |at: usize, what: &str| sent.get(at).is_some_and(|form| form.contains(what));
    assert!(sent.len() == 2 && has(0, "HttpTokens=required") && !has(0, "HttpEndpoint"), "{sent:?}");
    assert!(has(1, "HttpEndpoint=disabled") && !has(1, "HttpTokens"), "{sent:?}");
    assert_eq!(metadata(&world, &id)[..3], ["required", "1", "disabled"]);
}

#[test]
fn an_endpoint_that_stays_on_leaves_a_change_that_is_told_and_undone() {
    let desk = Desk::new();
    let world = &desk.world;
    let id = world.instance(&[]).id;
    let before = metadata(world, &id);
    let server = world.proxy().refuse_with("ModifyInstanceMetadataOptions", "HttpEndpoint=disabled", 403, "UnauthorizedOperation").start();
    let line = format!("ec2 modify_metadata_options --instance_ids {id} --http_tokens required --http_endpoint disabled");
    let folder = directory();
    let run = desk.aaws(&format!("{line} --report report.jsonl")).endpoint(&server.url).within(folder.path()).run();
    assert_eq!(run.exits(3).json(), json!([]));
    let said = Said(report(&folder));
    assert_eq!(said.code(&id), "UnauthorizedOperation");
    assert!(said.why(&id).contains("done before that: its metadata options became http_tokens required"), "{:?}", said.0);
    assert_eq!(metadata(world, &id)[..3], ["required", "1", "enabled"]);

    let undone: Value = desk.aaws("undo").run().ok().json();
    assert_eq!(outcomes(&undone), [(id.as_str(), "done")]);
    assert_eq!(metadata(world, &id), before);
}

#[test]
fn options_that_are_so_already_are_awaited_too() {
    let world = World::new();
    let id = world.instance(&[]).id;
    set(&world, &id, "HttpTokens", "required");
    let pending = |n: usize, xml: String| if n <= 3 { xml.replace("<state>applied</state>", "<state>pending</state>") } else { xml };
    let server = world.proxy().rewrite("DescribeInstances", pending).start();
    let (output, said) = reported(&world, &server, &format!("modify_metadata_options --instance_ids {id}"));
    assert_eq!((output.ok().json(), said.status(&id)), (json!([]), "unchanged"));
    assert_eq!((server.count("DescribeInstances"), writes(&server)), (4, vec![]));
    // A dry run waits for nothing, and says so.
    let server = world.proxy().rewrite("DescribeInstances", pending).start();
    let (_, plan) = reported(&world, &server, &format!("modify_metadata_options --instance_ids {id} --dry_run"));
    assert!(plan.status(&id) == "unchanged" && plan.why(&id).contains("not in effect yet"), "{:?}", plan.0);
    assert_eq!(server.count("DescribeInstances"), 1);
}

#[test]
fn the_plan_names_instances_whose_containers_would_get_no_token() {
    let world = World::new();
    let (near, far) = (world.instance(&[]).id, world.instance(&[]).id);
    set(&world, &far, "HttpPutResponseHopLimit", "2");
    let server = world.proxy().start();
    let line = format!("modify_metadata_options --instance_ids {near} {far}");
    let plan = planned(&world, &server, &line, 0);
    assert!(plan.why(&near).contains("hop limit is 1") && !plan.why(&far).contains("hop limit"), "{:?}", plan.0);
    let plan = planned(&world, &server, &format!("{line} --http_tokens required --http_put_response_hop_limit 2"), 0);
    assert!(!plan.why(&near).contains("hop limit is 1"), "{:?}", plan.0);
}

#[test]
fn only_what_takes_something_away_is_asked_about() {
    let world = World::new();
    let id = world.instance(&[]).id;
    let line = format!("ec2 modify_metadata_options --instance_ids {id}");
    let declined = world.aaws(&line).on_terminal("n").exits(4);
    assert!(declined.stdout.contains(&id), "{declined}");
    assert_eq!(metadata(&world, &id)[0], "optional");
    let free = world.aaws(format!("{line} --http_put_response_hop_limit 2")).on_terminal("n").ok();
    assert!(!free.stdout.contains("[y/N]"), "{free}");
    world.aaws(format!("{line} --http_put_response_hop_limit 1")).on_terminal("n").exits(4);
    assert_eq!(metadata(&world, &id)[1], "2");
}

#[test]
fn metadata_options_are_as_they_were_but_for_those_that_somebody_changed_since() {
    let desk = Desk::new();
    let world = &desk.world;
    let (mine, theirs) = (world.instance(&[]).id, world.instance(&[]).id);
    let before = metadata(world, &mine);
    let line = format!("ec2 modify_metadata_options --instance_ids {mine} {theirs} --http_tokens required --http_put_response_hop_limit 2");
    desk.aaws(&line).run().ok();
    set(world, &theirs, "HttpPutResponseHopLimit", "5");
    let undone: Value = desk.aaws("undo").run().exits(3).json();
    assert_eq!(outcomes(&undone), [(theirs.as_str(), "skipped"), (mine.as_str(), "done")]);
    assert_eq!(metadata(world, &mine), before);
    assert_eq!(metadata(world, &theirs)[..2], ["required", "5"]);
}
