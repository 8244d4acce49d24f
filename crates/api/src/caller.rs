//! Who is asking, and whether they may.
//!
//! A route takes [`May<R>`] as an argument and so cannot forget to ask. The check comes before the body is read.

use std::marker::PhantomData;
use std::net::SocketAddr;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use otaru_engine::{Engine, Operator, Role};

use crate::problem::{Code, Problem};

/// The other end of the connection that a request came on. Absent where there is none, as in tests of the router.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A caller whose token has at least the role `R`.
pub(crate) struct May<R> {
    /// Recorded with what they change.
    pub(crate) by: Operator,
    demand: PhantomData<R>,
}

/// The role that a route demands.
pub(crate) trait Demand {
    const ROLE: Role;
}

/// Reading.
pub(crate) enum Look {}
/// Changing devices, packages and campaigns.
pub(crate) enum Change {}
/// Making and revoking tokens.
pub(crate) enum Administer {}

impl Demand for Look {
    const ROLE: Role = Role::Viewer;
}
impl Demand for Change {
    const ROLE: Role = Role::Operator;
}
impl Demand for Administer {
    const ROLE: Role = Role::Admin;
}

impl<S, R> FromRequestParts<S> for May<R>
where
    S: Send + Sync,
    R: Demand,
    Engine: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<May<R>, Problem> {
        let Some(token) = bearer(&parts.headers) else {
            return Err(Problem::new(
                Code::TokenMissing,
                "this needs an API token; send it as `Authorization: Bearer TOKEN`",
            ));
        };
        let by = Engine::from_ref(state).operator(token).await?;
        if by.role < R::ROLE {
            return Err(Problem::new(
                Code::RoleTooLow,
                format!(
                    "this needs the role `{}` and the token has `{}`; use another token, or ask an admin for one",
                    role_name(R::ROLE),
                    role_name(by.role)
                ),
            ));
        }
        Ok(May { by, demand: PhantomData })
    }
}

/// The token of an `Authorization` header; the scheme in any case, with or without a blank after the colon.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim_start().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The word of a role in the API.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Approver => "approver",
        Role::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_scheme_may_be_in_any_case() {
        for sent in ["Bearer t0k", "bearer t0k", "BEARER t0k", "Bearer   t0k", " Bearer t0k "] {
            assert_eq!(token_in(sent), Some("t0k".to_owned()), "{sent:?}");
        }
    }

    #[test]
    fn another_scheme_or_no_token_is_none() {
        for sent in ["Basic t0k", "Bearer", "Bearer ", "t0k", ""] {
            assert_eq!(token_in(sent), None, "{sent:?}");
        }
    }

    #[test]
    fn roles_are_named_as_they_are_stored() {
        for role in [Role::Viewer, Role::Operator, Role::Approver, Role::Admin] {
            assert_eq!(serde_json::to_value(role).unwrap(), role_name(role));
        }
    }

    fn token_in(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        bearer(&headers).map(str::to_owned)
    }
}
