//! The catalogue: all endpoints there are.

use include_dir::{Dir, include_dir};

use super::Endpoint;
use crate::error::{Error, ErrorKind, Result};

/// Endpoints by name, parents before the endpoints that they drive.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Vec<Endpoint>);

/// Every file of the folder is an endpoint; adding one is adding a file.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/schemas");

impl Catalogue {
    /// The built-in endpoints.
    ///
    /// # Errors
    /// `Config` when one of the embedded files is wrong, which a test rules out.
    pub fn built_in() -> Result<Self> {
        let mut endpoints = Vec::new();
        for file in BUILT_IN.files() {
            let name = file.path().to_str().and_then(|path| path.strip_suffix(".toml"));
            if let Some((name, text)) = name.zip(file.contents_utf8()) {
                endpoints.push(Endpoint::from_toml(name, text)?);
            }
        }
        Ok(Self::new(endpoints))
    }

    /// A catalogue of these endpoints: those that are on first, parents before the endpoints that
    /// they drive, documented ones before experimental ones, by name.
    #[must_use]
    pub fn new(mut endpoints: Vec<Endpoint>) -> Self {
        endpoints.sort_by(|a, b| {
            let rank = |it: &Endpoint| (!it.on, it.parent.is_some(), it.experimental);
            rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name))
        });
        Self(endpoints)
    }

    /// All endpoints, parents first.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.0
    }

    /// The endpoint of this name.
    ///
    /// # Errors
    /// `Config`, naming those that exist.
    pub fn find(&self, name: &str) -> Result<&Endpoint> {
        self.0.iter().find(|endpoint| endpoint.name == name).ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|endpoint| endpoint.name.as_str()).collect();
            Error::new(ErrorKind::Config, format!("there is no endpoint `{name}`"))
                .with_hint(format!("the endpoints are: {}", names.join(", ")))
        })
    }

    /// The field by which endpoints that `name` drives choose whom to ask for.
    #[must_use]
    pub fn watched_field(&self, name: &str) -> Option<&str> {
        let driven = self.0.iter().filter_map(|it| it.parent.as_ref());
        let mut fields = driven.filter(|it| it.endpoint == name).flat_map(|it| it.when.keys());
        fields.next().map(String::as_str)
    }

    /// The endpoints to export: the named ones, or all that are on.
    ///
    /// # Errors
    /// `Config` when a name is unknown.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Endpoint>> {
        names.iter().try_for_each(|name| self.find(name).map(|_| ()))?;
        let wanted = |endpoint: &&Endpoint| {
            if names.is_empty() { endpoint.on } else { names.contains(&endpoint.name) }
        };
        Ok(self.0.iter().filter(wanted).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_endpoint_is_right_and_its_parent_comes_first() {
        let catalogue = Catalogue::built_in().unwrap();
        assert_eq!(catalogue.endpoints().len(), 17);
        assert_eq!(catalogue.endpoints()[0].name, "calls");
        for (at, endpoint) in catalogue.endpoints().iter().enumerate() {
            if let Some(parent) = &endpoint.parent {
                let earlier = &catalogue.endpoints()[..at];
                assert!(earlier.iter().any(|e| e.name == parent.endpoint), "{}", endpoint.name);
            }
        }
    }
}
