//! The CEL expressions of an issuer, compiled: the operator asks whether they can be, the proxy
//! keeps the programs. The rules are those of kube-apiserver's configuration.

use oidcproxy_expression::{Environment, Program, ResultType};

use super::{
    authentication::{ClaimMappings, ClaimValidationRule, UserValidationRule},
    issuer_rules::FieldError,
    settings::IssuerSettings,
};

/// Every expression of one issuer, ready to be evaluated.
#[derive(Debug, Default)]
pub struct IssuerExpressions {
    /// `claimMappings.username.expression`
    pub username: Option<Program>,
    /// `claimMappings.groups.expression`
    pub groups: Option<Program>,
    /// `claimMappings.uid.expression`
    pub uid: Option<Program>,
    /// `claimMappings.extra`, with its keys.
    pub extra: Vec<(String, Program)>,
    /// Those of `claimValidationRules`.
    pub claim_rules: Vec<RuleExpression>,
    /// Those of `userValidationRules`.
    pub user_rules: Vec<RuleExpression>,
}

/// A rule that must come out true.
#[derive(Debug)]
pub struct RuleExpression {
    /// The rule.
    pub program: Program,
    /// Said when it does not.
    pub message: Option<String>,
}

/// What is wrong with the expressions of these issuers; empty when all can be used.
pub fn check_expressions(issuers: &[IssuerSettings]) -> Vec<FieldError> {
    let compiled = issuers.iter().enumerate();
    compiled
        .filter_map(|(index, issuer)| compile(issuer, &format!("jwt[{index}]")).err())
        .flatten()
        .collect()
}

/// Compiles all expressions of an issuer whose settings stand at `path`.
pub fn compile(issuer: &IssuerSettings, path: &str) -> Result<IssuerExpressions, Vec<FieldError>> {
    let mut compiler = Compiler::default();
    let programs = IssuerExpressions {
        claim_rules: compiler.claim_rules(&issuer.claim_validation_rules, path),
        user_rules: compiler.user_rules(&issuer.user_validation_rules, path),
        ..compiler.mappings(&issuer.claim_mappings, &format!("{path}.claimMappings"))
    };
    if compiler.errors.is_empty() {
        compiler.check_email(&programs, path);
    }
    if compiler.errors.is_empty() {
        Ok(programs)
    } else {
        Err(compiler.errors)
    }
}

#[derive(Default)]
struct Compiler {
    errors: Vec<FieldError>,
}

impl Compiler {
    fn add(&mut self, path: String, message: String) {
        self.errors.push(FieldError { path, message });
    }

    fn program(
        &mut self,
        expression: Option<&str>,
        environment: Environment,
        path: String,
    ) -> Option<Program> {
        let source = expression.filter(|source| !source.is_empty())?;
        match Program::compile(source, environment) {
            Ok(program) => Some(program),
            Err(error) => {
                let message = format!(
                    "line {}, column {}: {}",
                    error.line, error.column, error.message
                );
                self.add(path, message);
                None
            }
        }
    }

    fn mappings(&mut self, mappings: &ClaimMappings, path: &str) -> IssuerExpressions {
        let claims = Environment::Claims;
        let username = mappings.username.expression.as_deref();
        let groups = mappings.groups.as_ref();
        let uid = mappings.uid.as_ref();
        let extra = mappings.extra.iter().enumerate();
        IssuerExpressions {
            username: self.program(username, claims, format!("{path}.username.expression")),
            groups: self.program(
                groups.and_then(|groups| groups.expression.as_deref()),
                claims,
                format!("{path}.groups.expression"),
            ),
            uid: self.program(
                uid.and_then(|uid| uid.expression.as_deref()),
                claims,
                format!("{path}.uid.expression"),
            ),
            extra: extra
                .filter_map(|(index, extra)| {
                    let path = format!("{path}.extra[{index}].valueExpression");
                    let program = self.program(Some(&extra.value_expression), claims, path)?;
                    Some((extra.key.clone(), program))
                })
                .collect(),
            ..IssuerExpressions::default()
        }
    }

    fn claim_rules(&mut self, rules: &[ClaimValidationRule], path: &str) -> Vec<RuleExpression> {
        let rules = rules.iter().enumerate();
        rules
            .filter_map(|(index, rule)| {
                let path = format!("{path}.claimValidationRules[{index}].expression");
                let source = rule.expression.as_deref();
                self.rule(source, rule.message.as_deref(), Environment::Claims, path)
            })
            .collect()
    }

    fn user_rules(&mut self, rules: &[UserValidationRule], path: &str) -> Vec<RuleExpression> {
        let rules = rules.iter().enumerate();
        rules
            .filter_map(|(index, rule)| {
                let path = format!("{path}.userValidationRules[{index}].expression");
                let source = Some(rule.expression.as_str());
                self.rule(source, rule.message.as_deref(), Environment::User, path)
            })
            .collect()
    }

    fn rule(
        &mut self,
        source: Option<&str>,
        message: Option<&str>,
        environment: Environment,
        path: String,
    ) -> Option<RuleExpression> {
        let program = self.program(source, environment, path.clone())?;
        if program.result_type() != ResultType::Bool {
            let text =
                "must evaluate to bool; a claim alone does not, compare it (claims.x == true)";
            self.add(path, text.to_owned());
            return None;
        }
        Some(RuleExpression {
            program,
            message: message.filter(|text| !text.is_empty()).map(str::to_owned),
        })
    }

    /// Whoever maps an address to a name must at least look at whether it was verified.
    fn check_email(&mut self, compiled: &IssuerExpressions, path: &str) {
        let Some(username) = &compiled.username else {
            return;
        };
        if !username.selects_claim("email") {
            return;
        }
        let looks = |program: &Program| program.selects_claim("email_verified");
        let rules = &compiled.claim_rules;
        if looks(username)
            || compiled.extra.iter().any(|(_, program)| looks(program))
            || rules.iter().any(|rule| looks(&rule.program))
        {
            return;
        }
        self.add(
            format!("{path}.claimMappings.username.expression"),
            "claims.email_verified must be used in claimMappings.username.expression, claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression".to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1alpha1::authentication::{ExtraMapping, PrefixedClaimOrExpression};

    fn issuer(username: &str) -> IssuerSettings {
        let mut issuer = IssuerSettings::default();
        issuer.claim_mappings.username = PrefixedClaimOrExpression {
            expression: Some(username.to_owned()),
            ..PrefixedClaimOrExpression::default()
        };
        issuer
    }

    fn errors(issuer: IssuerSettings) -> Vec<String> {
        let found = check_expressions(&[issuer]);
        found.iter().map(ToString::to_string).collect()
    }

    fn rule(expression: &str) -> ClaimValidationRule {
        ClaimValidationRule {
            expression: Some(expression.to_owned()),
            ..ClaimValidationRule::default()
        }
    }

    #[test]
    fn an_error_has_its_field_and_its_place() {
        assert_eq!(errors(issuer("'u:' + claims.sub")), Vec::<String>::new());
        let [broken] = &errors(issuer("claims.sub +"))[..] else {
            panic!("one error");
        };
        let place = "jwt[0].claimMappings.username.expression: line 1, column ";
        assert!(broken.starts_with(place), "{broken}");
        let mut user = issuer("claims.sub");
        user.user_validation_rules = vec![UserValidationRule {
            expression: "user.nope == 'x'".to_owned(),
            message: None,
        }];
        assert!(errors(user)[0].starts_with("jwt[0].userValidationRules[0].expression: line 1"));
    }

    #[test]
    fn a_rule_is_bool_by_its_type() {
        let with = |expression: &str| {
            let mut issuer = issuer("claims.sub");
            issuer.claim_validation_rules = vec![rule(expression)];
            errors(issuer)
        };
        assert!(with("claims.ok == true").is_empty());
        assert!(with("claims.ok")[0].contains("must evaluate to bool"));
    }

    #[test]
    fn an_address_needs_a_look_at_its_verification() {
        assert!(errors(issuer("claims.email"))[0].contains("email_verified"));
        assert!(errors(issuer("claims.?email.orValue('x')"))[0].contains("email_verified"));
        assert!(errors(issuer("claims['email']")).is_empty());
        let mut ruled = issuer("claims.email");
        ruled.claim_validation_rules = vec![rule("claims.?email_verified.orValue(true) == true")];
        assert!(errors(ruled).is_empty());
        let mut extra = issuer("claims.email");
        extra.claim_mappings.extra = vec![ExtraMapping {
            key: "example.org/verified".to_owned(),
            value_expression: "string(claims.email_verified)".to_owned(),
        }];
        assert!(errors(extra).is_empty());
    }
}
