//! One call of an application: who makes it, for which project, and what came with it.
//!
//! Always true:
//! - No body is read before its sender has named an access key or a token that is known, and the date of a signature is good.
//! - Nothing of a call is looked at before it was proved.

use axum::extract::{FromRef, FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use otaru_engine::{Engine, Faulty, Kind, Operator, Role, Signer, Spaces};

use super::apps::Apps;
use super::input::Fields;
use super::paging::Paging;
use super::refusal::{FORBIDDEN, INVALID, TOKEN, UNKNOWN_CALLER, of_body, of_engine};
use super::signature::{SignatureError, Signed, pairs};
use crate::body::read_whole;
use crate::caller::{bearer, role_name};
use crate::limits::APPLICATION_BODY_BYTES_MAX;
use crate::problem::Problem;

/// A call that was proved to come from somebody who may make it, as far as its project goes.
pub(super) struct Call {
    pub(super) engine: Engine,
    by: Operator,
    /// The ids in the path, after the project.
    ids: Vec<String>,
    query: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    /// The caller, if they may look.
    pub(super) fn look(&self) -> Result<&Operator, Problem> {
        self.with_role(Role::Viewer)
    }

    /// The caller, if they may change something.
    pub(super) fn change(&self) -> Result<&Operator, Problem> {
        self.with_role(Role::Operator)
    }

    fn with_role(&self, role: Role) -> Result<&Operator, Problem> {
        if self.by.role >= role {
            return Ok(&self.by);
        }
        Err(FORBIDDEN.because(format!(
            "This needs the role `{}`, and the caller has `{}`.",
            role_name(role),
            role_name(self.by.role)
        )))
    }

    /// The first id in the path.
    pub(super) fn id(&self) -> &str {
        self.ids.first().map_or("", String::as_str)
    }

    /// A value of the query that is not empty.
    pub(super) fn asked(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, value)| found == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// One that has to be there.
    pub(super) fn asked_for(&self, name: &str) -> Result<&str, Problem> {
        self.asked(name).ok_or_else(|| INVALID.because(format!("`{name}` is required in the query.")))
    }

    /// One of these words.
    pub(super) fn asked_word(
        &self,
        name: &str,
        accepted: &[&'static str],
    ) -> Result<Option<&'static str>, Problem> {
        let Some(text) = self.asked(name) else { return Ok(None) };
        let found = accepted.iter().find(|word| **word == text);
        found.map(|word| Some(*word)).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            INVALID.because(format!("`{name}` is {shown:?}; {} are accepted.", accepted.join(", ")))
        })
    }

    pub(super) fn paging(&self) -> Result<Paging, Problem> {
        Paging::of(&self.query)
    }

    pub(super) fn fields(&self) -> Result<Fields, Problem> {
        Fields::of(&self.body)
    }

    /// The resource spaces as they are now.
    pub(super) async fn apps(&self) -> Result<Apps, Problem> {
        Apps::of(&self.engine).await
    }

    /// The spaces that `app_id` of the query names; all where there is none.
    pub(super) fn asked_spaces(&self, apps: &Apps) -> Result<Spaces, Problem> {
        apps.asked(self.asked("app_id"))
    }
}

impl<S> FromRequest<S> for Call
where
    S: Send + Sync,
    Engine: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Call, Problem> {
        let engine = Engine::from_ref(state);
        let (mut parts, body) = request.into_parts();
        let params = RawPathParams::from_request_parts(&mut parts, state)
            .await
            .map_err(|error| INVALID.because(format!("The path cannot be read: {}.", error.body_text())))?;
        let mut ids: Vec<String> = params.iter().map(|(_, id)| id.to_owned()).collect();
        let proof = Proof::of(&engine, &parts.headers).await?;
        let body = read_whole(body, APPLICATION_BODY_BYTES_MAX).await.map_err(|problem| of_body(&problem))?;
        let by = match proof {
            Proof::Token(by) => by,
            Proof::Signature(signed, signer) => {
                let Signer { operator, secret } = *signer;
                signed
                    .verify(&secret, &parts.method, &parts.uri, &parts.headers, &body)
                    .map_err(|error| refused(&error))?;
                operator
            }
        };
        if !ids.is_empty() {
            check_project(&engine, &ids.remove(0), &parts.headers)?;
        }
        Ok(Call { engine, by, ids, query: pairs(parts.uri.query()), body })
    }
}

/// What a caller proves who they are with.
enum Proof {
    Token(Operator),
    /// Still to be verified, with the body.
    Signature(Signed, Box<Signer>),
}

impl Proof {
    /// A scheme that signs decides; otherwise a token does, ours as well as the one of the token call.
    async fn of(engine: &Engine, headers: &HeaderMap) -> Result<Proof, Problem> {
        let authorization = headers.get(header::AUTHORIZATION);
        let authorization = authorization.map(|value| value.to_str().unwrap_or("?")).unwrap_or_default();
        if let Some(signed) = Signed::parse(authorization) {
            let signed = signed.map_err(|error| refused(&error))?;
            let within_ms = i64::try_from(engine.signed_within().as_millis()).unwrap_or(i64::MAX);
            signed.check_head(headers, engine.wall(), within_ms).map_err(|error| refused(&error))?;
            let signer =
                engine.signer(&signed.access_key).await.map_err(|error| of_engine(error, UNKNOWN_CALLER))?;
            let signer = signer.ok_or_else(|| {
                UNKNOWN_CALLER
                    .because("The access key is not known; make one with `otaru access-key create`.")
            })?;
            return Ok(Proof::Signature(signed, Box::new(signer)));
        }
        let token = bearer(headers)
            .or_else(|| headers.get("x-auth-token").and_then(|value| value.to_str().ok()))
            .filter(|token| !token.is_empty());
        let Some(token) = token else {
            return Err(UNKNOWN_CALLER
                .because("Sign the request with an access key, or send a token in `X-Auth-Token`."));
        };
        match engine.operator(token).await {
            Ok(operator) => return Ok(Proof::Token(operator)),
            Err(otaru_engine::TokenError::Unknown) => {}
            Err(error) => return Err(of_engine(error, TOKEN)),
        }
        engine.application(token).await.map(Proof::Token).map_err(|error| match error.kind() {
            Kind::Unauthorized => TOKEN.because(format!("{error}.")),
            Kind::NotFound
            | Kind::Invalid
            | Kind::Forbidden
            | Kind::Conflict
            | Kind::TooLarge
            | Kind::Unavailable
            | Kind::Internal => of_engine(error, TOKEN),
        })
    }
}

fn refused(error: &SignatureError) -> Problem {
    UNKNOWN_CALLER.because(format!("{error}."))
}

fn check_project(engine: &Engine, asked: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let ours = engine.project_id();
    if asked.contains('{') {
        return Err(FORBIDDEN.because(format!(
            "The client was configured without a project id; that of this server is {ours}."
        )));
    }
    if asked != ours {
        return Err(FORBIDDEN.because("The project in the path is not the caller's."));
    }
    match headers.get("x-project-id") {
        Some(named) if named.as_bytes() != ours.as_bytes() => {
            Err(FORBIDDEN.because("`X-Project-Id` is another project than the one in the path."))
        }
        Some(_) | None => Ok(()),
    }
}
