//! What expressions ask of URLs.

use super::Implementation;
use crate::{
    error::Failure,
    eval::{
        Context,
        value::{Map, Value},
    },
    url::Url,
};

/// An absolute URL or an absolute path that can be the target of a request.
fn parse(text: &str) -> Option<Url> {
    Url::parse(text).filter(|_| Url::is_request_target(text))
}

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "url" => |context, args| {
            let url = parse(text(context, args)?).ok_or_else(|| Failure::new("invalid URL"))?;
            Ok(Value::Url(url.into()))
        },
        "isURL" => |context, args| Ok(Value::Bool(Url::is_request_target(text(context, args)?))),
        "getScheme" => |context, args| part(context, args, |url| url.scheme().to_owned()),
        "getHost" => |context, args| part(context, args, |url| url.host().to_owned()),
        "getHostname" => |context, args| part(context, args, |url| url.hostname().to_owned()),
        "getPort" => |context, args| part(context, args, |url| url.port().to_owned()),
        "getEscapedPath" => |context, args| part(context, args, Url::escaped_path),
        "getQuery" => |context, args| match args {
            [Value::Url(url)] => {
                context.budget.bytes(url.query().len())?;
                let mut map = Map::default();
                for (key, values) in url.values() {
                    context.budget.elements(1 + values.len())?;
                    let values =
                        Value::native_list(values.into_iter().map(Value::string).collect());
                    map.strings.insert(key.into(), values);
                }
                Ok(Value::map(map))
            }
            _ => Err(Failure::no_overload("getQuery")),
        },
        _ => return None,
    })
}

fn text<'a>(context: &mut Context<'_>, args: &'a [Value]) -> Result<&'a str, Failure> {
    match args {
        [Value::String(text)] => {
            context.budget.bytes(text.len())?;
            Ok(text)
        }
        _ => Err(Failure::no_overload("url")),
    }
}

fn part(
    context: &mut Context<'_>,
    args: &[Value],
    of: impl Fn(&Url) -> String,
) -> Result<Value, Failure> {
    match args {
        [Value::Url(url)] => {
            let text = of(url);
            context.budget.bytes(text.len())?;
            Ok(Value::string(text))
        }
        _ => Err(Failure::no_overload("url method")),
    }
}
