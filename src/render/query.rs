//! `--query`: JMESPath over the whole output.

use jmespath::ast::Ast;
use serde_json::Value;

use crate::engine::action::to_value;
use crate::model::error::{Error, Result};

/// The longest query that is taken, in bytes.
const LONGEST: usize = 8192;

/// The most brackets and prefix operators of a query.
const DEEPEST: usize = 256;

/// How many times as large as the output a query may make its result: `[@,@]` doubles it, and each pipe behind it doubles that again.
const COPIES: u64 = 1000;

/// A checked expression.
pub(super) struct Query(jmespath::Expression<'static>);

impl Query {
    /// Checked before anything runs.
    pub fn compile(query: &str) -> Result<Self> {
        // The parser recurses: what is nested very deep would end the process.
        let nests = query.bytes().filter(|b| b"[({!&".contains(b)).count();
        if query.len() > LONGEST || nests > DEEPEST {
            return Err(Error::field("query", "`query` is longer, or nested deeper, than any real one"));
        }
        let compiled = jmespath::compile(query).map_err(|e| {
            let text = e.to_string();
            Error::field("query", format!("`query` is not JMESPath: {}", text.lines().next().unwrap_or_default()))
        })?;
        if copies(compiled.as_ast()) > COPIES {
            return Err(Error::field(
                "query",
                "`query` copies the output more often than any real one: its result would not fit into memory",
            ));
        }
        Ok(Query(compiled))
    }

    /// What the expression finds.
    pub fn search(&self, value: &Value) -> Result<Value> {
        let found = self.0.search(value);
        to_value(&found.map_err(|e| Error::Failed(format!("`query` does not fit the result: {}", e.to_string().replace('\n', " "))))?)
    }
}

/// How many times as large as what it is applied to the result of an expression may be. What picks a part counts like the whole: that errs on the safe
/// side, far from what real queries need.
fn copies(expression: &Ast) -> u64 {
    match expression {
        Ast::Field { .. } | Ast::Identity { .. } | Ast::Index { .. } | Ast::Literal { .. } | Ast::Slice { .. } => 1,
        Ast::Expref { ast: inner, .. }
        | Ast::Flatten { node: inner, .. }
        | Ast::Not { node: inner, .. }
        | Ast::ObjectValues { node: inner, .. } => copies(inner),
        Ast::And { lhs, rhs, .. } | Ast::Comparison { lhs, rhs, .. } | Ast::Or { lhs, rhs, .. } => copies(lhs).max(copies(rhs)),
        Ast::Condition { predicate, then, .. } => copies(predicate).max(copies(then)),
        Ast::Projection { lhs, rhs, .. } | Ast::Subexpr { lhs, rhs, .. } => copies(lhs).saturating_mul(copies(rhs)),
        Ast::MultiList { elements, .. } => sum(elements.iter()),
        Ast::MultiHash { elements, .. } => sum(elements.iter().map(|member| &member.value)),
        Ast::Function { name, args, .. } => {
            let (mapped, given): (Vec<_>, Vec<_>) = args.iter().partition(|arg| matches!(arg, Ast::Expref { .. }));
            let own = match (name.as_str(), args.first()) {
                // Each quote and each backslash takes two.
                ("to_string", _) => 2,
                // What is put between all the others may be as long as all of them.
                ("join", Some(glue)) if !matches!(glue, Ast::Literal { .. }) => COPIES + 1,
                _ => 1,
            };
            mapped.into_iter().map(copies).fold(sum(given.into_iter()).max(1).saturating_mul(own), u64::saturating_mul)
        }
    }
}

fn sum<'a>(expressions: impl Iterator<Item = &'a Ast>) -> u64 {
    expressions.map(copies).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_would_fill_the_memory_is_refused() {
        for (stage, joint) in [
            ("[@,@]", "|"),
            ("[@,@]", "."),
            ("[[],[]]", "|"),
            ("{a:*,b:*}", "|"),
            ("map(&[@,@],@)", "|"),
            ("[to_string(@)]", "|"),
            ("join(to_string(@),@)", "|"),
        ] {
            let bomb = [stage; 12].join(joint);
            assert!(Query::compile(&bomb).is_err(), "{bomb}");
        }
        let columns = "{k: Key, s: Size, m: LastModified, e: ETag, c: StorageClass, o: Owner.Id, v: VersionId, a: A, b: B, d: D}";
        for real in [
            "length(@)",
            "[?Size > `0`].Key | sort(@) | [0]",
            "{all: @, count: length(@), first: @[0]}",
            "a || b",
            "join(', ', [].Key)",
            "sort_by([?Size > `0` && starts_with(Key, 'a') || contains(Key, 'b')], &Size)[-10:].[Key, Size]",
            &format!("[].{columns} | [].{columns}"),
        ] {
            assert!(Query::compile(real).is_ok(), "{real}");
        }
    }
}
