//! What goes over EC2's wire: requests that are forms, answers that are XML. Both can be read and changed here.

use std::fmt;

use crate::support::http::{Request, Response};
use crate::support::xml;

/// The parameters of a request, decoded, in their order.
#[derive(Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    pub fn new(action: &str, parameters: &[(&str, &str)]) -> Self {
        let head = [("Action", action), ("Version", "2016-11-15")];
        Self(head.iter().chain(parameters).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    pub fn of(request: &Request) -> Self {
        let decode = |text: &str| xml::percent_decode(&text.replace('+', " "));
        let text = request.text();
        let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decode(name), decode(value))).collect())
    }

    /// The body of a request with these parameters.
    pub fn encode(&self) -> Vec<u8> {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={}", xml::percent_encode(value)));
        pairs.collect::<Vec<_>>().join("&").into_bytes()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    /// The values of `name.1`, `name.2` and so on.
    pub fn list(&self, name: &str) -> Vec<String> {
        let numbered = |n: &str| n.strip_prefix(name).and_then(|n| n.strip_prefix('.')).is_some_and(|n| n.parse::<usize>().is_ok());
        self.0.iter().filter(|(n, _)| numbered(n)).map(|(_, value)| value.clone()).collect()
    }

    /// The forms within a form: `name.1.…`, `name.2.…` and so on, each without what stands before its own names.
    pub fn parts(&self, name: &str) -> Vec<Form> {
        let mut parts: Vec<(&str, Form)> = Vec::new();
        for (full, value) in &self.0 {
            let inner = full.strip_prefix(name).and_then(|n| n.strip_prefix('.')).and_then(|n| n.split_once('.'));
            let Some((number, inner)) = inner else { continue };
            let pair = (inner.to_owned(), value.clone());
            match parts.iter_mut().find(|(n, _)| *n == number) {
                Some((_, part)) => part.0.push(pair),
                None => parts.push((number, Form(vec![pair]))),
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    /// Puts these forms in the place of those that `parts` gives.
    pub fn set_parts(&mut self, name: &str, parts: &[Form]) {
        self.remove(name);
        for (number, part) in (1..).zip(parts) {
            self.0.extend(part.0.iter().map(|(inner, value)| (format!("{name}.{number}.{inner}"), value.clone())));
        }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    pub fn set_list(&mut self, name: &str, values: &[String]) {
        self.remove(name);
        self.0.extend((1..).zip(values).map(|(number, value)| (format!("{name}.{number}"), value.clone())));
    }

    /// Takes away a parameter, and all that are within it.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n.strip_prefix(name).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('.')));
    }

    /// Adds a filter.
    pub fn filter(&mut self, name: &str, values: &[String]) {
        let mut filters = self.parts("Filter");
        let mut filter = Form(vec![("Name".to_owned(), name.to_owned())]);
        filter.set_list("Value", values);
        filters.push(filter);
        self.set_parts("Filter", &filters);
    }

    /// Takes away the filters of a name, and gives their values.
    pub fn take_filter(&mut self, name: &str) -> Vec<Vec<String>> {
        let (taken, left): (Vec<_>, Vec<_>) = self.parts("Filter").into_iter().partition(|f| f.is("Name", name));
        if !taken.is_empty() {
            self.set_parts("Filter", &left);
        }
        taken.iter().map(|f| f.list("Value")).collect()
    }

    /// Has things of one kind tagged that the request makes.
    pub fn set_tags(&mut self, kind: &str, tags: &[Form]) {
        if !tags.is_empty() {
            let mut specification = Form(vec![("ResourceType".to_owned(), kind.to_owned())]);
            specification.set_parts("Tag", tags);
            self.set_parts("TagSpecification", &[specification]);
        }
    }

    /// Takes away the tags for things of one kind that the request makes, and gives them as `Tag.N.Key` and `Tag.N.Value`.
    pub fn take_tags(&mut self, kind: &str) -> Vec<Form> {
        let (taken, left): (Vec<_>, Vec<_>) = self.parts("TagSpecification").into_iter().partition(|t| t.is("ResourceType", kind));
        if !taken.is_empty() {
            self.set_parts("TagSpecification", &left);
        }
        taken.iter().flat_map(|t| t.parts("Tag")).collect()
    }
}

/// An element of an answer.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name, and the attributes behind it.
    tag: String,
    /// As it stands in the document, its entities untouched.
    text: String,
    children: Vec<Node>,
}

impl Node {
    pub fn new(name: &str) -> Self {
        Self { tag: name.to_owned(), text: String::new(), children: Vec::new() }
    }

    /// An answer of an operation, with nothing in it but its request's id.
    pub fn answer(operation: &str) -> Self {
        let mut root = Self::new(&format!("{operation}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\""));
        root.set("requestId", "request-id");
        root
    }

    /// The root of a document. moto writes no comments and no character data sections.
    pub fn parse(document: &str) -> Self {
        let mut open = vec![Self::new("")];
        for piece in document.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("no XML: {document}"));
            if tag.starts_with('?') {
                continue;
            }
            if let Some(tag) = tag.strip_suffix('/') {
                open.last_mut().expect("an open element").children.push(Self::new(tag.trim_end()));
            } else if tag.starts_with('/') {
                let closed = open.pop().expect("an open element");
                open.last_mut().unwrap_or_else(|| panic!("no XML: {document}")).children.push(closed);
            } else {
                open.push(Self { text: text.to_owned(), ..Self::new(tag) });
            }
        }
        let top = open.pop().expect("the document");
        top.children.into_iter().next().unwrap_or_else(|| panic!("no XML: {document}"))
    }

    pub fn name(&self) -> &str {
        self.tag.split(' ').next().unwrap_or_default()
    }

    /// All elements at a path, `attachmentSet/item/instanceId`, in their order.
    pub fn at(&self, path: &str) -> Vec<&Node> {
        let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let here = self.children.iter().filter(|c| c.name() == name);
        match rest {
            Some(rest) => here.flat_map(|c| c.at(rest)).collect(),
            None => here.collect(),
        }
    }

    pub fn at_mut(&mut self, path: &str) -> Vec<&mut Node> {
        let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let here = self.children.iter_mut().filter(|c| c.name() == name);
        match rest {
            Some(rest) => here.flat_map(|c| c.at_mut(rest)).collect(),
            None => here.collect(),
        }
    }

    /// The texts at a path.
    pub fn texts(&self, path: &str) -> Vec<&str> {
        self.at(path).into_iter().map(|n| n.text.as_str()).collect()
    }

    /// The first text at a path; an element that is empty has none.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts(path).into_iter().next().filter(|text| !text.is_empty())
    }

    pub fn is(&self, path: &str, text: &str) -> bool {
        self.text(path) == Some(text)
    }

    /// Makes this the text of a child, which is added if there is none.
    pub fn set(&mut self, name: &str, text: &str) {
        let mut child = Self::new(name);
        child.text = xml::escape(text);
        self.put(child);
    }

    /// The same, unless the child is there with a text.
    pub fn set_if_missing(&mut self, name: &str, text: &str) {
        if self.text(name).is_none() {
            self.set(name, text);
        }
    }

    /// Puts a child in the place of those of its name.
    pub fn put(&mut self, child: Node) {
        self.remove(child.name());
        self.children.push(child);
    }

    pub fn push(&mut self, child: Node) {
        self.children.push(child);
    }

    pub fn remove(&mut self, name: &str) {
        self.children.retain(|c| c.name() != name);
    }

    /// Keeps of the children of the elements at a path those that are wanted.
    pub fn retain(&mut self, path: &str, wanted: impl Fn(&Node) -> bool) {
        for list in self.at_mut(path) {
            list.children.retain(&wanted);
        }
    }

    /// What is within the element.
    pub fn inner(&self) -> String {
        self.children.iter().fold(self.text.clone(), |text, child| text + &child.to_string())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner() {
            inner if inner.is_empty() => write!(f, "<{}/>", self.tag),
            inner => write!(f, "<{}>{inner}</{}>", self.tag, self.name()),
        }
    }
}

impl From<Node> for Response {
    fn from(node: Node) -> Self {
        Response::xml(200, node.to_string())
    }
}

/// An error as EC2 answers it.
pub fn refusal(code: &str, message: impl AsRef<str>) -> Response {
    let message = xml::escape(message.as_ref());
    Response::xml(
        400,
        format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>request-id</RequestID></Response>"
        ),
    )
}
