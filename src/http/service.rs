//! One request: may it, what is it, and its answer. The hot routes are called from here directly.

use std::sync::Arc;
use std::time::Instant;

use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tower_service::Service as _;

use super::body::Reply;
use super::clients::Bucket;
use super::error::Refused;
use super::routes::Route;
use super::{Api, Settings, cors, kv, legacy, status};

/// Answers one request of a client.
pub(super) async fn answer(
    api: &Arc<Api>,
    bucket: &Bucket,
    request: Request<Incoming>,
) -> Response<Reply> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let found = Route::find(parts.uri.path());
    let legacy = found.is_some_and(|(route, _)| route.is_legacy());
    let settings = Arc::clone(&api.settings.borrow());
    let mut origin = None;
    let answered = match admit(&settings, bucket, began, found, &parts, &mut origin) {
        Ok(Some(response)) => Ok(response),
        Ok(None) => dispatch(api, found, &parts, body).await,
        Err(refused) => Err(refused),
    };
    let mut response = answered.unwrap_or_else(|refused| refused.response(legacy));
    if let Some(origin) = origin {
        cors::allow(&mut response, origin);
    }
    let metrics = &api.served.metrics.http;
    metrics.answered(response.status().as_u16(), began.elapsed());
    response
}

/// Refuses whoever may not; answers what a browser asks before it asks.
fn admit(
    settings: &Settings,
    bucket: &Bucket,
    now: Instant,
    found: Option<(Route, &str)>,
    parts: &Parts,
    origin: &mut Option<HeaderValue>,
) -> Result<Option<Response<Reply>>, Refused> {
    if let Err(seconds) = bucket.take(settings.rate, now) {
        let message = format!("more than {} requests a second, the limit", settings.rate);
        let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        return Err(Refused { retry_after: Some(seconds), ..refused });
    }
    if found.is_some_and(|(route, _)| route.is_open()) {
        return Ok(None);
    }
    *origin = cors::check(&parts.headers, settings)?;
    if parts.method == Method::OPTIONS && origin.is_some() {
        return Ok(Some(cors::preflight()));
    }
    let shown = parts.headers.get(header::AUTHORIZATION);
    match &settings.token {
        Some(token) if !shown.is_some_and(|shown| token.is_shown_by(shown.as_bytes())) => {
            let message = "expected Authorization: Bearer with the token of this agent";
            Err(Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
        }
        _ => Ok(None),
    }
}

async fn dispatch(
    api: &Arc<Api>,
    found: Option<(Route, &str)>,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Reply>, Refused> {
    let Some((route, key)) = found else {
        return Err(Refused::no_such_path(parts.uri.path()));
    };
    if !route.allows(parts.method.as_str()) {
        return Err(Refused::method(route.allow()));
    }
    match route {
        Route::Key => kv::answer(api, key, parts, body).await,
        Route::Get => legacy::get(api, parts).await,
        Route::Set => legacy::set(api, parts, body).await,
        Route::Delete => legacy::delete(api, parts, body).await,
        Route::Health => Ok(status::health(&api.served.handle.status())),
        Route::Live => Ok(status::live()),
        Route::Ready => Ok(status::ready(&api.served.handle.status())),
        // Boxed: what is rare shall not make the future of every connection larger.
        _ => Box::pin(large(Arc::clone(api), parts.clone(), body)).await,
    }
}

/// What axum's router serves, a bounded number of it at once.
async fn large(api: Arc<Api>, parts: Parts, body: Incoming) -> Result<Response<Reply>, Refused> {
    let busy = || Refused::busy("too many ranges, transactions and reports are under way");
    let place = Arc::clone(&api.large).try_acquire_owned().map_err(|_| busy())?;
    let mut request = Request::from_parts(parts, body);
    request.extensions_mut().insert(Arc::clone(&api));
    let mut router = api.router.clone();
    let Ok(response) = router.call(request).await;
    Ok(response.map(|body| Reply::Large { body, _place: place }))
}
