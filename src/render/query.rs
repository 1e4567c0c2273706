//! `--query`: JMESPath over the whole output.

use serde_json::Value;

use crate::engine::action::to_value;
use crate::model::error::{Error, Result};

/// The longest query that is taken, in bytes.
const LONGEST: usize = 8192;

/// The most brackets and prefix operators of a query.
const DEEPEST: usize = 256;

/// How many times over a query may copy the whole: `[@,@]` copies it twice, and each pipe behind it twice as often again.
const COPIES: u64 = 64;

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
        if copies(query) > COPIES {
            return Err(Error::field(
                "query",
                "`query` copies the output more often than any real one: its result would not fit into memory",
            ));
        }
        let compiled = jmespath::compile(query).map_err(|e| {
            let text = e.to_string();
            Error::field("query", format!("`query` is not JMESPath: {}", text.lines().next().unwrap_or_default()))
        })?;
        Ok(Query(compiled))
    }

    /// What the expression finds.
    pub fn search(&self, value: &Value) -> Result<Value> {
        let found = self.0.search(value);
        to_value(&found.map_err(|e| Error::Failed(format!("`query` does not fit the result: {}", e.to_string().replace('\n', " "))))?)
    }
}

/// How many times larger than the input a result can be made by naming the current node again and again: for each stage of a pipe the number of `@`
/// in it, multiplied. An `@` in a string or a function's argument counts, too: that errs on the safe side, far from what real queries need.
fn copies(query: &str) -> u64 {
    let stages = query.split('|').filter(|stage| !stage.is_empty());
    stages.map(|stage| stage.matches('@').count().max(1) as u64).fold(1, u64::saturating_mul)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_would_fill_the_memory_is_refused() {
        let doubling = vec!["[@,@]"; 25].join("|");
        assert!(Query::compile(&doubling).is_err());
        for real in ["length(@)", "[?Size > `0`].Key | sort(@) | [0]", "{all: @, count: length(@), first: @[0]}", "a || b"] {
            assert!(Query::compile(real).is_ok(), "{real}");
        }
    }
}
