//! The order in which security groups can be deleted that name one another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use aws_sdk_ec2::types::SecurityGroup;

use super::group_uses::named_by;
use super::lookup::Resource;

/// The groups that each group's rules name.
pub type Names = BTreeMap<String, BTreeSet<String>>;

/// Which of the groups each of them names.
pub fn references(groups: &[&SecurityGroup]) -> Names {
    let ids: BTreeSet<&str> = groups.iter().map(|g| g.id()).collect();
    let named = |g: &SecurityGroup| named_by(g).into_iter().filter(|id| ids.contains(id.as_str())).collect();
    groups.iter().map(|g| (g.id().to_owned(), named(g))).collect()
}

/// The groups to be deleted that name each group.
pub fn namers(going: &[String], names: &Names) -> HashMap<String, Vec<String>> {
    let mut namers: HashMap<String, Vec<String>> = HashMap::new();
    for namer in going {
        for named in names.get(namer).into_iter().flatten() {
            namers.entry(named.clone()).or_default().push(namer.clone());
        }
    }
    namers
}

/// Where each group stands in the order in which they are deleted.
pub fn places(going: &[String], names: &Names) -> HashMap<String, usize> {
    ordered(going, names).into_iter().flatten().enumerate().map(|(place, id)| (id, place)).collect()
}

/// An order in which groups come before those that they name. Those that name each other in a circle stand together, in the order given: only among
/// them do rules have to be taken away. (Kosaraju's algorithm for strongly connected components.)
fn ordered(ids: &[String], names: &Names) -> Vec<Vec<String>> {
    let number: HashMap<&str, usize> = ids.iter().enumerate().map(|(n, id)| (id.as_str(), n)).collect();
    let mut named: Vec<Vec<usize>> = Vec::with_capacity(ids.len());
    let mut namers: Vec<Vec<usize>> = vec![Vec::new(); ids.len()];
    for (namer, id) in ids.iter().enumerate() {
        let all: Vec<usize> = names.get(id).into_iter().flatten().filter_map(|n| number.get(n.as_str()).copied()).collect();
        all.iter().for_each(|&one| namers[one].push(namer));
        named.push(all);
    }
    let mut walked = Vec::with_capacity(ids.len());
    let mut seen = vec![false; ids.len()];
    // From the last to the first, because they are taken from the end: what nothing binds keeps its order.
    for start in (0..ids.len()).rev() {
        walk(&named, start, &mut seen, &mut walked);
    }
    let mut circles = Vec::new();
    let mut seen = vec![false; ids.len()];
    for &start in walked.iter().rev() {
        let mut circle = Vec::new();
        walk(&namers, start, &mut seen, &mut circle);
        if !circle.is_empty() {
            circle.sort_unstable();
            circles.push(circle.into_iter().map(|n| ids[n].clone()).collect());
        }
    }
    circles
}

/// Adds what can be reached and was not seen before, the farthest first.
fn walk(edges: &[Vec<usize>], start: usize, seen: &mut [bool], walked: &mut Vec<usize>) {
    if mem::replace(&mut seen[start], true) {
        return;
    }
    let mut path = vec![(start, 0_usize)];
    while let Some((at, next)) = path.last_mut() {
        match edges[*at].get(*next) {
            Some(&to) => {
                *next += 1;
                if !mem::replace(&mut seen[to], true) {
                    path.push((to, 0));
                }
            }
            None => {
                walked.push(*at);
                path.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[(&str, &[&str])]) -> Vec<Vec<String>> {
        let ids: Vec<String> = names.iter().map(|(id, _)| (*id).to_owned()).collect();
        let names = names.iter().map(|(id, n)| ((*id).to_owned(), n.iter().map(|s| (*s).to_owned()).collect())).collect();
        ordered(&ids, &names)
    }

    #[test]
    fn who_names_others_goes_first() {
        assert_eq!(order(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]), [["c"], ["b"], ["a"]]);
        assert_eq!(order(&[("a", &[]), ("b", &[]), ("c", &[])]), [["a"], ["b"], ["c"]], "what nothing binds keeps its order");
    }

    #[test]
    fn only_a_circle_stands_together() {
        assert_eq!(order(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"])]), [vec!["c"], vec!["a", "b"]]);
        // The first that is given hangs on the circle, and is no part of it.
        assert_eq!(order(&[("x", &[]), ("a", &["x", "b"]), ("b", &["a"])]), [vec!["a", "b"], vec!["x"]]);
    }

    #[test]
    fn a_long_chain_is_no_matter() {
        let ids: Vec<String> = (0..20_000).map(|n| format!("sg-{n}")).collect();
        let names: Names = ids.windows(2).map(|pair| (pair[1].clone(), BTreeSet::from([pair[0].clone()]))).collect();
        let order = ordered(&ids, &names);
        assert_eq!(order.len(), ids.len());
        assert_eq!(order.first(), Some(&vec!["sg-19999".to_owned()]));
        assert_eq!(order.last(), Some(&vec!["sg-0".to_owned()]));
    }
}
