//! The catalogue: all endpoints.

use std::collections::BTreeSet;

use include_dir::{Dir, include_dir};

use super::name::{check_name, plain_name};
use super::{ColumnRules, Endpoint, Overrides, Paging, Parent, Piece};
use crate::error::{Error, ErrorKind, Result};
use crate::place::Mistake;
use crate::schema::Schema;
use crate::secret::Salt;

/// Endpoints by name, parents before their children.
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
        let files = BUILT_IN.files().filter_map(|file| {
            let name = file.path().to_str()?.strip_suffix(".toml")?;
            Some((name.to_owned(), file.contents_utf8()?.to_owned()))
        });
        let mut catalogue = Self::default().with_files(files.collect())?;
        catalogue.0.iter_mut().for_each(|endpoint| endpoint.built_in = true);
        Ok(catalogue)
    }

    /// A catalogue of these endpoints: those on by default first, parents before their children,
    /// documented ones before experimental ones, by name.
    #[must_use]
    pub fn new(mut endpoints: Vec<Endpoint>) -> Self {
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        let rank = |it: &Endpoint| (!it.on, depth(&endpoints, it), it.experimental);
        let ranks: Vec<_> = endpoints.iter().map(rank).collect();
        let mut ranked: Vec<_> = ranks.into_iter().zip(endpoints).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut catalogue = Self(ranked.into_iter().map(|(_, endpoint)| endpoint).collect());
        catalogue.note_keys();
        catalogue.note_calls();
        catalogue
    }

    /// Marks the endpoints whose parents' ids are the parents' whole keys.
    fn note_keys(&mut self) {
        let is_by_key = |endpoint: &Endpoint| {
            let rule = endpoint.parent.as_ref()?;
            let mut key = self.find(&rule.endpoint).ok()?.key_columns();
            let is_key = |key: &str| rule.id.as_str() == format!("$.{key}");
            Some(key.next().is_some_and(is_key) && key.next().is_none())
        };
        let by_key: Vec<bool> = self.0.iter().map(|it| is_by_key(it).unwrap_or(false)).collect();
        for (endpoint, by_key) in self.0.iter_mut().zip(by_key) {
            if let Some(parent) = &mut endpoint.parent {
                parent.by_key = by_key;
            }
        }
    }

    /// Marks the endpoints whose parents' ids are those of calls; a record that is looked up by such
    /// an id, or repeats it, is about that call.
    fn note_calls(&mut self) {
        let ids: Vec<(String, String)> = self
            .0
            .iter()
            .filter_map(|it| Some((it.name.clone(), format!("$.{}", it.about.call.as_ref()?))))
            .collect();
        let looked_up: Vec<bool> = self.0.iter().map(|endpoint| self.looks_up(endpoint)).collect();
        for (endpoint, is_looked_up) in self.0.iter_mut().zip(looked_up) {
            let Some(parent) = &mut endpoint.parent else { continue };
            let is_id = |(name, id): &(String, String)| {
                *name == parent.endpoint && id == parent.id.as_str()
            };
            parent.of_call = ids.iter().any(is_id);
            let key = match endpoint.key.as_slice() {
                [key] if is_looked_up => Some(key),
                _ => parent.repeats.as_ref(),
            };
            if let Some(key) = key.filter(|_| parent.of_call) {
                endpoint.about.call.get_or_insert_with(|| key.clone());
            }
        }
    }

    /// The same endpoints with these files, each a name and a text. An endpoint that is `like`
    /// another comes after it, whatever their names.
    ///
    /// # Errors
    /// `Config`, naming the line and column.
    pub fn with_files(mut self, mut files: Vec<(String, String)>) -> Result<Self> {
        while !files.is_empty() {
            let waits = |(_, text): &(String, String)| {
                let model = toml::from_str::<toml::Table>(text).ok();
                let model = model.and_then(|it| it.get("like")?.as_str().map(str::to_owned));
                model.is_some_and(|model| files.iter().any(|(name, _)| *name == model))
            };
            // Where each waits for another, the error of the first says so.
            let next = files.iter().position(|file| !waits(file)).unwrap_or(0);
            let (name, text) = files.remove(next);
            self = self.with_file(&name, &text)?;
        }
        Ok(self)
    }

    /// The same endpoints with one added or changed, according to a user's file. A file with `like`
    /// makes another endpoint from an existing one. One with a `description` is a whole endpoint,
    /// and replaces a built-in one of its name; any other changes the endpoint of its name.
    ///
    /// # Errors
    /// `Config`, naming the line and column.
    pub fn with_file(self, name: &str, text: &str) -> Result<Self> {
        let wrong = |message: String| {
            Error::new(ErrorKind::Config, message).with_context(format!("endpoint {name}"))
        };
        check_name(name).map_err(wrong)?;
        let parsed = |error: toml::de::Error| wrong(error.to_string().trim_end().to_owned());
        let table: toml::Table = toml::from_str(text).map_err(parsed)?;
        if table.contains_key("like") {
            let overrides: Overrides = toml::from_str(text).map_err(parsed)?;
            return self.with_another(name, text, overrides);
        }
        if table.contains_key("description") {
            let Self(mut endpoints) = self;
            let endpoint = Endpoint::from_toml(name, text)?;
            endpoints.retain(|it| it.name != name);
            endpoints.push(endpoint);
            return Ok(Self::new(endpoints));
        }
        if self.find(name).is_err() {
            let message = format!(
                "`{name}` is not built in, so its file needs a `description` and the other \
                 required keys"
            );
            return Err(wrong(Mistake::at([], message).shown_in(text)));
        }
        let overrides: Overrides = toml::from_str(text).map_err(parsed)?;
        let changed = self.with_overrides(name, &overrides);
        changed.map_err(|mut mistake| {
            mistake.path.remove(0);
            wrong(mistake.shown_in(text))
        })
    }

    /// The same endpoints and one more, which is like an existing one except for what its file
    /// says.
    fn with_another(self, name: &str, text: &str, mut overrides: Overrides) -> Result<Self> {
        let wrong = |mistake: Mistake| {
            Error::new(ErrorKind::Config, mistake.shown_in(text))
                .with_context(format!("endpoint {name}"))
        };
        let like = overrides.like.take().unwrap_or_default();
        let known = self.find(&like);
        let known = known.map_err(|error| wrong(Mistake::at(["like"], error.message())))?;
        let mut endpoint = Endpoint {
            name: name.to_owned(),
            source: text.into(),
            built_in: false,
            ..known.clone()
        };
        overrides.apply(&mut endpoint).map_err(wrong)?;
        let Self(mut endpoints) = self;
        endpoints.retain(|it| it.name != name);
        endpoints.push(endpoint);
        Ok(Self::new(endpoints))
    }

    /// Checks that only the whole catalogue allows: every parent exists, and no endpoint is its own
    /// ancestor.
    ///
    /// # Errors
    /// `Config`, naming the endpoint.
    pub fn check(&self) -> Result<()> {
        for endpoint in &self.0 {
            if let Err(mistake) = self.check_chain(endpoint) {
                let message = mistake.shown_in(&endpoint.source);
                let context = format!("endpoint {}", endpoint.name);
                return Err(Error::new(ErrorKind::Config, message).with_context(context));
            }
        }
        Ok(())
    }

    /// Checks that an endpoint's parent exists and is not its descendant, and that lists by the
    /// parent's ids are not requested again in every run.
    fn check_chain(&self, endpoint: &Endpoint) -> Result<(), Mistake> {
        let Some(parent) = &endpoint.parent else { return Ok(()) };
        let at_parent = |message| Err(Mistake::at(["parent", "endpoint"], message));
        if self.find(&parent.endpoint).is_err() {
            return at_parent(format!("its parent `{}` does not exist", parent.endpoint));
        }
        if self.depth(endpoint).is_none() {
            return at_parent("its parents form a cycle".to_owned());
        }
        self.check_fields(endpoint, parent)?;
        let is_list = endpoint.time_field().is_some() && !self.looks_up(endpoint);
        if is_list && parent.refresh.is_none() {
            let message = "every run would request each of its parent's ids: set how long results \
                           are cached, such as refresh = \"7d\" in [parent]";
            return Err(Mistake::at(["parent"], message));
        }
        Ok(())
    }

    /// Whether the parent's fields that an endpoint's requests name exist. A documented built-in
    /// parent declares all its columns; any other may have more.
    fn check_fields(&self, endpoint: &Endpoint, rule: &Parent) -> Result<(), Mistake> {
        let Ok(parent) = self.find(&rule.endpoint) else { return Ok(()) };
        let schema = Schema { columns: parent.columns.clone(), ..parent.schema() };
        let wrong = |field: &str, message| {
            let names = |piece: &Piece| matches!(piece, Piece::Parent(it) if it == field);
            let mut places = endpoint.templates();
            let place = places.find(|(_, template)| template.pieces().iter().any(names));
            Err(Mistake { path: place.map(|(path, _)| path).unwrap_or_default(), message })
        };
        for field in endpoint.parent_fields() {
            let is_metadata = field.split('.').next() == Some(&parent.metadata_column);
            match endpoint.parent_field_in(field, &schema) {
                Err(message) => return wrong(field, format!("of {}, {message}", parent.name)),
                Ok(found) if found.is_known || is_metadata => {}
                Ok(_) if parent.built_in && !parent.experimental => {
                    let columns: Vec<_> =
                        parent.columns.iter().map(|it| it.name.as_str()).collect();
                    let message = format!(
                        "{} has no field `{field}`: its columns are {}",
                        parent.name,
                        columns.join(", ")
                    );
                    return wrong(field, message);
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Whether an endpoint is read by look-up: one by one by the keys of its parent's rows,
    /// whenever those change. Otherwise the lists of its parents' ids are read.
    #[must_use]
    pub fn looks_up(&self, endpoint: &Endpoint) -> bool {
        let Some(rule) = &endpoint.parent else { return false };
        let is_whole = matches!(endpoint.paging, Paging::Whole | Paging::None);
        let is_root = |parent: &Endpoint| parent.parent.is_none();
        let by_key = rule.by_key && self.find(&rule.endpoint).is_ok_and(is_root);
        endpoint.time_field().is_some() && rule.column.is_none() && is_whole && by_key
    }

    /// How many ancestors an endpoint has; `None` when they form a cycle.
    #[must_use]
    pub fn depth(&self, endpoint: &Endpoint) -> Option<usize> {
        depth(&self.0, endpoint)
    }

    /// The same endpoints, with the user's changes to one of them.
    ///
    /// # Errors
    /// When no endpoint has this name, or the result is not an endpoint; the mistake is at the
    /// name, or at one of the keys below it.
    pub fn with_overrides(self, name: &str, overrides: &Overrides) -> Result<Self, Mistake> {
        let Self(mut endpoints) = self;
        let Some(endpoint) = endpoints.iter_mut().find(|endpoint| endpoint.name == name) else {
            return Err(Mistake::at([name], format!("there is no endpoint `{name}`")));
        };
        overrides.apply(endpoint).map_err(|mistake| mistake.below([name]))?;
        Ok(Self::new(endpoints))
    }

    /// The same endpoints, the chosen ones ready for requests: headers have their values, and
    /// hashes their salt.
    ///
    /// # Errors
    /// `Config` when a rule changes a field by which a chosen endpoint is requested, or when the
    /// variable of a header or the salt is not set.
    pub fn ready(
        self,
        chosen: &[String],
        environment: &dyn Fn(&str) -> Option<String>,
        salt: Option<&Salt>,
    ) -> Result<Self> {
        self.check_rules_of_parents(chosen)?;
        let chosen = &*self.with_ancestors(chosen);
        self.with_headers(chosen, environment)?.with_salt(chosen, salt)
    }

    /// The same endpoints, with the values of those headers that the environment holds.
    ///
    /// # Errors
    /// `Config` when a variable that one of the `chosen` endpoints needs is not set.
    pub fn with_headers(
        mut self,
        chosen: &[String],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        for endpoint in &mut self.0 {
            let is_chosen = endpoint.is_chosen(chosen);
            match endpoint.headers.resolve(environment) {
                Err(message) if is_chosen => {
                    let context = format!("endpoint {}", endpoint.name);
                    return Err(Error::new(ErrorKind::Config, message).with_context(context));
                }
                _ => {}
            }
        }
        Ok(self)
    }

    /// The same endpoints, with this page size for the chosen ones that have pages.
    ///
    /// # Errors
    /// `Config` when one of them does not support this page size, or none has pages at all.
    pub fn with_page_size(mut self, chosen: &[String], size: u32) -> Result<Self> {
        let wrong = |message: String| Error::new(ErrorKind::Config, message);
        let mut has_pages = false;
        for endpoint in self.0.iter_mut().filter(|endpoint| endpoint.is_chosen(chosen)) {
            if endpoint.paging.page_size().is_some() && endpoint.paging.set_page_size(size) {
                let checked = endpoint.paging.check();
                checked.map_err(|(_, why)| wrong(format!("{}: {why}", endpoint.name)))?;
                has_pages = true;
            }
        }
        if has_pages { Ok(self) } else { Err(wrong(format!("{} has no pages", chosen.join(", ")))) }
    }

    /// The same endpoints with these rules for all that have such columns; rules for a single
    /// endpoint take precedence.
    ///
    /// # Errors
    /// When a rule matches no column of any endpoint, or one that identifies or dates rows.
    pub fn with_rules(mut self, rules: &ColumnRules) -> Result<Self, Mistake> {
        rules.check_any(&self.0)?;
        for endpoint in &mut self.0 {
            let mut all = rules.about(&endpoint.columns);
            all.extend(&endpoint.rules);
            endpoint.rules = all;
            endpoint.check()?;
        }
        Ok(self)
    }

    /// The same endpoints without spoken words.
    #[must_use]
    pub fn without_verbatim(mut self) -> Self {
        for endpoint in &mut self.0 {
            endpoint.rules.extend(&ColumnRules::dropping(&endpoint.verbatim));
        }
        self
    }

    /// The same endpoints, with the salt of their hashes.
    ///
    /// # Errors
    /// `Config` when one of the `chosen` endpoints needs a salt and there is none.
    pub fn with_salt(mut self, chosen: &[String], salt: Option<&Salt>) -> Result<Self> {
        for endpoint in self.0.iter_mut().filter(|endpoint| endpoint.rules.needs_salt()) {
            if salt.is_none() && endpoint.is_chosen(chosen) {
                let message = "its columns must be hashed, but CLARI_LAKE_SALT is not set";
                return Err(Error::new(ErrorKind::Config, message)
                    .with_context(format!("endpoint {}", endpoint.name))
                    .with_hint(
                        "set CLARI_LAKE_SALT, or CLARI_LAKE_SALT_FILE to a file that holds it; \
                         head -c 32 /dev/urandom | base64 makes one; keep it",
                    ));
            }
            endpoint.rules = std::mem::take(&mut endpoint.rules).with_salt(salt.cloned());
        }
        Ok(self)
    }

    /// Checks that rules leave alone the ids and selection fields by which the chosen endpoints are
    /// requested.
    ///
    /// # Errors
    /// `Config`, naming the rule that changes them.
    pub fn check_rules_of_parents(&self, chosen: &[String]) -> Result<()> {
        for endpoint in self.0.iter().filter(|endpoint| endpoint.is_chosen(chosen)) {
            let Some(parent) = &endpoint.parent else { continue };
            let rules = &self.find(&parent.endpoint)?.rules;
            let id: Vec<&str> = parent.id.names().collect();
            let fields = endpoint.parent_fields().into_iter();
            let mut places = parent
                .when
                .keys()
                .map(|field| vec![field.as_str()])
                .chain([id])
                .chain(fields.map(|field| field.split('.').collect()));
            if let Some(rule) = places.find_map(|place| rules.touching(&place)) {
                let (name, parent) = (&endpoint.name, &parent.endpoint);
                let message =
                    format!("`{name}` needs `{rule}` of {parent}, which a column rule changes");
                return Err(Error::new(ErrorKind::Config, message)
                    .with_context(format!("endpoint {name}"))
                    .with_hint(format!("leave out {name}, or remove the rule")));
            }
        }
        Ok(())
    }

    /// The same endpoints, all with the run's lookback.
    #[must_use]
    pub fn without_lookbacks(mut self) -> Self {
        self.0.iter_mut().for_each(|endpoint| endpoint.lookback = None);
        self
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
            let meant = names.iter().find(|known| **known == plain_name(name));
            let hint = meant.map_or_else(
                || format!("the endpoints are: {}", names.join(", ")),
                |meant| format!("did you mean `{meant}`?"),
            );
            Error::new(ErrorKind::Config, format!("there is no endpoint `{name}`")).with_hint(hint)
        })
    }

    /// The fields by which the children of `name` select their parents: every field of every
    /// child's `when`, once each and in order.
    #[must_use]
    pub fn selectors(&self, name: &str) -> Vec<String> {
        let children = self.0.iter().filter_map(|it| it.parent.as_ref());
        let fields = children.filter(|it| it.endpoint == name).flat_map(|it| it.when.keys());
        let fields: BTreeSet<&String> = fields.collect();
        fields.into_iter().cloned().collect()
    }

    /// The names and those of their ancestors, which may have to be requested too; no names if none
    /// are given.
    #[must_use]
    pub fn with_ancestors(&self, names: &[String]) -> Vec<String> {
        let mut all = names.to_vec();
        let mut at = 0;
        while let Some(name) = all.get(at) {
            at += 1;
            let parent = self.find(name).ok().and_then(|endpoint| endpoint.parent.as_ref());
            if let Some(parent) = parent.filter(|parent| !all.contains(&parent.endpoint)) {
                all.push(parent.endpoint.clone());
            }
        }
        all
    }

    /// The endpoints to export: the named ones, or all that are on by default.
    ///
    /// # Errors
    /// `Config` when a name is unknown.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Endpoint>> {
        names.iter().try_for_each(|name| self.find(name).map(|_| ()))?;
        Ok(self.0.iter().filter(|endpoint| endpoint.is_chosen(names)).collect())
    }
}

/// How many ancestors an endpoint has; `None` when they form a cycle.
fn depth(endpoints: &[Endpoint], endpoint: &Endpoint) -> Option<usize> {
    let above = |endpoint: &&Endpoint| {
        let parent = endpoint.parent.as_ref()?;
        endpoints.iter().find(|it| it.name == parent.endpoint)
    };
    let chain = std::iter::successors(Some(endpoint), above).take(endpoints.len() + 1);
    Some(chain.count() - 1).filter(|depth| *depth < endpoints.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_endpoint_is_right_and_its_parent_comes_first() {
        let catalogue = Catalogue::built_in().unwrap();
        assert_eq!(catalogue.endpoints().len(), 19);
        assert_eq!(catalogue.endpoints()[0].name, "calls");
        for (at, endpoint) in catalogue.endpoints().iter().enumerate() {
            if let Some(parent) = &endpoint.parent {
                let earlier = &catalogue.endpoints()[..at];
                assert!(earlier.iter().any(|e| e.name == parent.endpoint), "{}", endpoint.name);
            }
        }
    }

    /// An endpoint that is like one of the user's own, or like a changed one, whatever its name.
    #[test]
    fn an_endpoint_like_another_is_read_after_it() {
        let files = [
            ("alpha", "like = 'mine'\npath = '/alpha'"),
            ("beta", "like = 'calls'\npath = '/beta'"),
            ("calls", "page_size = 7"),
            (
                "mine",
                "description = 'd'\npath = '/mine'\nrecords = '$'\nkey = ['id']\n\
                dated = { by = 'run' }\ncolumn = [{ name = 'id', type = 'string' }]",
            ),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
        let catalogue = Catalogue::built_in().unwrap().with_files(files).unwrap();
        assert_eq!(catalogue.find("alpha").unwrap().key, ["id"]);
        assert_eq!(catalogue.find("beta").unwrap().paging.page_size(), Some(7));
    }

    /// An old file that changes a built-in endpoint means the same setting by its old name.
    #[test]
    fn the_old_name_of_a_setting_is_read() {
        let changed = |setting: &str| {
            let text =
                format!("parent = {{ endpoint = 'calls', id = '$.id', {setting} = 'summary' }}");
            let files = vec![("call_details".to_owned(), text)];
            let catalogue = Catalogue::built_in().unwrap().with_files(files).unwrap();
            catalogue.find("call_details").unwrap().parent.clone().unwrap().completed_by
        };
        let named = Some("summary".to_owned());
        assert_eq!(changed("settled_by"), named);
        assert_eq!(changed("completed_by"), named);
    }
}
