//! Items and plans: what a dry run writes down of each, and what becomes of each when a plan is applied.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use serde_json::Value;

use super::{Change, ItemResult, journaled, name, named, record, settled};
use crate::engine::action::Reply;
use crate::engine::context::Context;
use crate::engine::host::Progress;
use crate::engine::plan::{ItemLine, RunPlan};
use crate::model::code::Code;
use crate::model::error::Result;
use crate::model::meta::Effect;
use crate::model::outcome::{Failure, Outcome, Record, Skip, Status};

/// What is to be done about an item.
pub(super) enum Admission<D> {
    /// It is changed.
    Goes,
    /// This became of it already.
    Ends(Outcome<D>),
    /// The plan that is applied does not know it: it is left alone, and is no outcome.
    New,
}

/// What selection, and the plan that is applied if there is one, say of an item.
pub(super) fn admission<C: Change>(cx: &Context, change: &C, item: &C::Item) -> Admission<C::Done> {
    let now = settled(cx, change, item);
    let RunPlan::Applying(planned) = &cx.run().plan else {
        return journaled::begun_before(cx, change, item, now).map_or(Admission::Goes, Admission::Ends);
    };
    let line = match planned.expected(&change.id(item)) {
        Ok(Some(line)) => line,
        Ok(None) if !change.wants_all() => return Admission::New,
        Ok(None) => return Admission::Ends(now.unwrap_or_else(|| changed("it is not in the plan"))),
        Err(e) => return Admission::Ends(Outcome::Failed(Failure::permanent(Code::Unchecked, e.to_string()))),
    };
    match (line.record.status, now) {
        (Status::Planned, now) => as_planned(cx, change, item, &line, now),
        // It needed nothing, and still needs nothing.
        (Status::Unchanged, Some(outcome)) => Admission::Ends(outcome),
        (Status::Unchanged, None) => match difference(line.state.as_ref(), change.state(item).as_ref()) {
            Some(what) => Admission::Ends(changed(what)),
            // It is done once more for the sake of what follows it, which somebody agrees to with it: nothing of it has changed.
            None if change.wants_all() && line.state.is_some() => Admission::Goes,
            None => Admission::Ends(changed("it needed no change when it was planned, and now does")),
        },
        (Status::Skipped | Status::Failed | Status::Done, _) => Admission::Ends(as_left(line.record)),
    }
}

/// What becomes of an item that the plan would change.
fn as_planned<C: Change>(cx: &Context, change: &C, item: &C::Item, line: &ItemLine, now: Option<Outcome<C::Done>>) -> Admission<C::Done> {
    let is_missing = |failure: &Failure| failure.code == Code::NotFound.as_str();
    match now {
        // It is as it was to become.
        Some(outcome @ Outcome::Unchanged(_)) => return Admission::Ends(outcome),
        Some(Outcome::Failed(failure)) if is_missing(&failure) => {
            return Admission::Ends(gone(cx).unwrap_or(Outcome::Failed(failure)));
        }
        _ => {}
    }
    if let Some(what) = difference(line.state.as_ref(), change.state(item).as_ref()) {
        return Admission::Ends(changed(what));
    }
    match now {
        None => Admission::Goes,
        Some(Outcome::Skipped(Skip { code: None, why })) => Admission::Ends(changed(format!("it is not as planned: {why}"))),
        Some(outcome) => Admission::Ends(outcome),
    }
}

/// What was to be deleted and is not there any more is as it was to become.
fn gone<D>(cx: &Context) -> Option<Outcome<D>> {
    (cx.meta().effect == Effect::Delete).then(|| Outcome::Unchanged("it is gone since it was planned".into()))
}

fn changed<D>(what: impl Into<String>) -> Outcome<D> {
    Outcome::skipped_as(Code::Changed, what)
}

/// What the plan leaves alone is left alone, for the same reason.
fn as_left<D>(record: Record) -> Outcome<D> {
    let why = record.message.unwrap_or_else(|| "the plan leaves it alone".into());
    match record.status {
        Status::Failed => Outcome::Failed(Failure::permanent(record.code.unwrap_or_else(|| Code::Failed.into()), why)),
        _ => {
            let code = record.code.and_then(|code| serde_json::from_value(Value::String(code)).ok());
            Outcome::Skipped(Skip { code, why })
        }
    }
}

/// In what two states differ, in words. A plan that binds nothing of an item is of any state.
fn difference(was: Option<&Value>, is: Option<&Value>) -> Option<String> {
    let was = was?;
    let Some(is) = is else { return Some("what it was like when it was planned cannot be looked at now".into()) };
    let (Value::Object(was), Value::Object(is)) = (was, is) else {
        return (was != is).then(|| format!("it was {}, and is {}", told(was), told(is)));
    };
    let new = is.keys().filter(|name| !was.contains_key(*name));
    let member = |name: &String| {
        let (was, is) = (was.get(name).unwrap_or(&Value::Null), is.get(name).unwrap_or(&Value::Null));
        (was != is).then(|| format!("`{name}` was {}, and is {}", told(was), told(is)))
    };
    let differences: Vec<String> = was.keys().chain(new).filter_map(member).collect();
    (!differences.is_empty()).then(|| differences.join("; "))
}

fn told(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Whether an item would be changed: for the person asked.
pub(super) fn goes<C: Change>(cx: &Context, change: &C, item: &C::Item) -> bool {
    matches!(admission(cx, change, item), Admission::Goes)
}

/// Whether an item is one that the run is about.
pub(super) fn is_known<C: Change>(cx: &Context, change: &C, item: &C::Item) -> bool {
    !matches!(admission(cx, change, item), Admission::New)
}

/// A plan counts as applied from here on.
pub(super) fn claim(cx: &Context) -> Result<()> {
    match &cx.run().plan {
        RunPlan::Applying(planned) => planned.claim(),
        RunPlan::None | RunPlan::Writing(_) => Ok(()),
    }
}

/// Leaves a new item alone: that it stays, for those that wait for it.
pub(super) fn leave<C: Change>(cx: &Context, change: &C, item: &C::Item) -> Record {
    if let RunPlan::Applying(planned) = &cx.run().plan {
        planned.note_new(name(change, item));
    }
    cx.progress(Progress::Advanced(1));
    Record::new(change.id(item), Status::Skipped)
}

/// A dry run: each item that would be changed, and what becomes of the others. A plan is written of it, where one is asked for.
pub(super) fn plan<C: Change>(
    cx: Context,
    items: BoxStream<'static, Result<C::Item>>,
    change: Arc<C>,
) -> BoxStream<'static, Result<ItemResult<C::Done>>> {
    let cancellation = cx.cancellation().clone();
    items
        .take_until(async move { cancellation.cancelled().await })
        .map(move |item| {
            let item = match item {
                Ok(item) => item,
                Err(e) => return vec![Err(e)],
            };
            let (result, fatal) = match admission(&cx, &*change, &item) {
                Admission::Goes => (foreseen(&cx, &*change, &item), None),
                Admission::Ends(outcome) => {
                    let fatal = outcome.fatal();
                    (record(&cx, &*change, &item, outcome), fatal)
                }
                Admission::New => {
                    leave(&cx, &*change, &item);
                    return Vec::new();
                }
            };
            if let RunPlan::Writing(plan) = &cx.run().plan {
                let bound = matches!(result.record.status, Status::Planned | Status::Unchanged);
                plan.item(&result.record, if bound { change.state(&item) } else { None });
            }
            std::iter::once(Ok(result)).chain(fatal.map(Err)).collect()
        })
        .flat_map(stream::iter)
        .boxed()
}

fn foreseen<C: Change>(cx: &Context, change: &C, item: &C::Item) -> ItemResult<C::Done> {
    let planned = Record { message: change.plan(item), ..named(change, item, Record::new(change.id(item), Status::Planned)) };
    cx.record(&planned);
    cx.progress(Progress::Advanced(1));
    ItemResult { record: planned, done: None }
}

/// The rows of a run that applies a plan, and behind them what is to be said once all that is selected now was gone through: what of the plan is not there
/// any more, and what is new.
pub fn close_plan(reply: Reply, cx: Context) -> Reply {
    if !matches!(cx.run().plan, RunPlan::Applying(_)) {
        return reply;
    }
    match reply {
        Reply::Items(rows) => {
            let closing = Closing { rows, failed: false, rest: None, cx };
            Reply::Items(stream::unfold(closing, |mut closing| async move { closing.next().await.map(|row| (row, closing)) }).boxed())
        }
        Reply::Value(Value::Array(mut rows)) if cx.dry_run() => {
            rows.extend(close(&cx));
            Reply::Value(Value::Array(rows))
        }
        reply => {
            close(&cx);
            reply
        }
    }
}

struct Closing {
    rows: BoxStream<'static, Result<Value>>,
    /// Not all of it was selected, then.
    failed: bool,
    /// What comes behind the rows, once they are at their end.
    rest: Option<std::vec::IntoIter<Value>>,
    cx: Context,
}

impl Closing {
    async fn next(&mut self) -> Option<Result<Value>> {
        if self.rest.is_none() {
            if let Some(row) = self.rows.next().await {
                self.failed |= row.is_err();
                return Some(row);
            }
            let rest = if self.failed { Vec::new() } else { close(&self.cx) };
            self.rest = Some(rest.into_iter());
        }
        self.rest.as_mut()?.next().map(Ok)
    }
}

/// Records the items of the plan that were not selected again, and names those that are new. The rows of them, for a dry run.
fn close(cx: &Context) -> Vec<Value> {
    let RunPlan::Applying(planned) = &cx.run().plan else { return Vec::new() };
    let (count, first) = planned.new_items();
    if count > 0 {
        let more = if count > first.len() as u64 { ", …" } else { "" };
        tracing::warn!("{count} that the plan does not know would be selected now, and are left alone: {}{more}", first.join(", "));
    }
    let mut rows = Vec::new();
    // A run that ended early did not come to all that there is.
    if cx.cancellation().is_cancelled() {
        return rows;
    }
    for line in planned.unseen() {
        let line = match line {
            Ok(line) => line,
            Err(e) => {
                cx.record_failure("the plan", &e);
                break;
            }
        };
        let record = not_selected(cx, line.record);
        cx.record(&record);
        if cx.dry_run() && matches!(record.status, Status::Failed | Status::Skipped) {
            rows.push(record.to_value());
        }
    }
    rows
}

/// What became of an item of the plan that is not selected any more.
fn not_selected(cx: &Context, planned: Record) -> Record {
    let outcome: Outcome = match planned.status {
        Status::Planned => gone(cx).unwrap_or_else(|| Outcome::Failed(Failure::not_found("it is not there any more, or not selected"))),
        Status::Unchanged => return planned,
        Status::Skipped | Status::Failed | Status::Done => as_left(planned.clone()),
    };
    let (record, _) = outcome.into_record(planned.item);
    Record { name: planned.name, kind: planned.kind, ..record }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_is_told_member_by_member() {
        let volume = json!({"state": "available", "size": 8, "attachments": []});
        let told = |is: Value| difference(Some(&volume), Some(&is));
        assert_eq!(told(json!({"attachments": [], "size": 8, "state": "available"})), None);
        let grown = json!({"state": "in-use", "size": 9, "attachments": []});
        assert_eq!(told(grown).as_deref(), Some("`state` was available, and is in-use; `size` was 8, and is 9"));
        let more = json!({"state": "available", "size": 8, "attachments": [], "key": "k"});
        assert_eq!(told(more).as_deref(), Some("`key` was nothing, and is k"));
        assert_eq!(difference(None, Some(&volume)), None);
        assert!(difference(Some(&volume), None).is_some());
        assert_eq!(difference(Some(&json!("a")), Some(&json!("b"))).as_deref(), Some("it was a, and is b"));
    }

    #[test]
    fn what_a_plan_leaves_is_left_as_it_says() {
        let left = |record: Record| as_left::<()>(record).into_record("i").0;
        let protected = Record::new("i", Status::Skipped).with_code(Code::Protected).with_message("kept");
        assert_eq!(left(protected.clone()), protected);
        let in_use = Record::new("i", Status::Skipped).with_message("it is in use");
        assert_eq!(left(in_use.clone()), in_use);
        let failed = Record::new("i", Status::Failed).with_code("AutoScaling").with_message("no");
        assert_eq!(left(failed.clone()), failed);
    }
}
