//! What the licence of a checkpoint's weights asks for.

use std::path::Path;

use crate::load::LoadError;

/// Licences that let anybody use the weights for anything, as the hub spells
/// them.
const PERMISSIVE: [&str; 14] = [
    "apache-2.0",
    "mit",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd-3-clause-clear",
    "isc",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-3.0",
    "unlicense",
    "wtfpl",
    "zlib",
    "bsl-1.0",
];

/// Returns the licence in the front matter of the folder's README, as the
/// Hugging Face hub writes it.
pub fn stated_in(folder: &Path) -> Option<String> {
    stated(&std::fs::read_to_string(folder.join("README.md")).ok()?)
}

fn stated(readme: &str) -> Option<String> {
    let front_matter = readme.strip_prefix("---")?.split("\n---").next()?;
    let value = |key: &str| {
        let line = front_matter.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    match value("license:")? {
        // The hub's word for one that is not in its list; the name stands apart.
        other if other == "other" => Some(value("license_name:").unwrap_or(other)),
        licence => Some(licence),
    }
}

/// Lets weights through whose licence is permissive or was accepted by name;
/// `path` is for messages. A checkpoint that states none is let through: whoever
/// has the files knows where they come from.
///
/// # Errors
/// If it is neither, with what it limits.
pub fn check(path: &str, licence: Option<&str>, accepted: Option<&str>) -> Result<(), LoadError> {
    let Some(licence) = licence else {
        tracing::warn!(path, "the checkpoint states no licence; make sure that you may use it");
        return Ok(());
    };
    if PERMISSIVE.iter().any(|known| known.eq_ignore_ascii_case(licence)) {
        return Ok(());
    }
    if accepted.is_some_and(|accepted| accepted.eq_ignore_ascii_case(licence)) {
        tracing::info!(path, licence, "the licence of the weights was accepted by configuration");
        return Ok(());
    }
    Err(LoadError::Licence {
        path: path.to_owned(),
        licence: licence.to_owned(),
        limits: limits(licence),
        accepted: accepted.map(str::to_owned),
    })
}

/// Says in a few words what a licence limits.
fn limits(licence: &str) -> &'static str {
    let licence = licence.to_ascii_lowercase();
    let has = |part: &str| licence.split(['-', '_']).any(|word| word == part);
    match (has("nc"), has("sa"), has("nd")) {
        (true, _, true) => "which forbids commercial use and passing on changed versions",
        (true, true, _) => {
            "which forbids commercial use and asks that changes keep the same licence"
        }
        (true, ..) => "which forbids commercial use",
        (_, true, _) => "which asks that changes keep the same licence",
        (_, _, true) => "which forbids passing on changed versions",
        _ => "which is not known to allow every use: read it first",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licence_is_that_of_the_readmes_front_matter() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(stated_in(folder.path()), None);
        let readme = "---\nlicense: cc-by-nc-4.0\ntags: [a]\n---\n# Model\nlicense: other\n";
        std::fs::write(folder.path().join("README.md"), readme).expect("written");
        assert_eq!(stated_in(folder.path()).as_deref(), Some("cc-by-nc-4.0"));
        assert_eq!(stated("---\nlicense: \"mit\"\n---\n").as_deref(), Some("mit"));
        let named = "---\nlicense: other\nlicense_name: house-rules\n---\n";
        assert_eq!(stated(named).as_deref(), Some("house-rules"));
        assert_eq!(stated("# Model\nlicense: mit\n"), None);
    }

    #[test]
    fn a_restricted_licence_must_be_accepted_by_its_name() {
        let check = |licence, accepted| check("m", licence, accepted).map_err(|e| e.to_string());
        assert_eq!(check(Some("Apache-2.0"), None), Ok(()));
        assert_eq!(check(None, None), Ok(()));
        assert_eq!(check(Some("cc-by-nc-4.0"), Some("CC-BY-NC-4.0")), Ok(()));
        let refused = check(Some("cc-by-nc-4.0"), None).expect_err("refused");
        assert_eq!(
            refused,
            "the weights of `m` are under the licence `cc-by-nc-4.0`, which forbids commercial \
             use: if that suits you, accept it with 'license.accept'='cc-by-nc-4.0' in CREATE \
             MODEL or with --accept-license cc-by-nc-4.0"
        );
        let other = check(Some("cc-by-nc-4.0"), Some("mit")).expect_err("refused");
        assert!(other.ends_with("; `mit` was accepted, which is another one"), "{other}");
        let unknown = check(Some("house-rules"), None).expect_err("refused");
        assert!(unknown.contains("not known to allow every use"), "{unknown}");
        assert!(limits("cc-by-nc-nd-4.0").contains("changed versions"));
    }
}
