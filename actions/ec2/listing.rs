//! Listings of any service by one guard: a token that comes again is an error, where an SDK's paginator would take half a listing for the whole.

/// The elements of a listing, page by page: the request, what is listed ("RDS instances"), how the request takes a token, and where an answer has the
/// next token and the elements.
macro_rules! listing {
    ($request:expr, $what:literal, $set:ident, $next:ident, $items:ident) => {{
        let request = $request;
        Box::pin(aaws::paged(concat!("the ", $what), move |token: Option<String>| {
            let request = request.clone().$set(token);
            async move {
                let answer = aaws::ErrorContext::context(request.send().await, || concat!("list the ", $what))?;
                Ok::<_, aaws::Error>(aaws::Page { items: answer.$items.unwrap_or_default(), next: aaws::Next::nonempty(answer.$next) })
            }
        }))
    }};
}
pub(super) use listing;
