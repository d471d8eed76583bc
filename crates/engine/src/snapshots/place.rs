//! From `state.url` to a store.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use url::Url;

/// Schemes of clouds, and the feature each needs.
const CLOUDS: [(&str, &str, bool); 5] = [
    ("s3", "s3", cfg!(feature = "s3")),
    ("gs", "gcs", cfg!(feature = "gcs")),
    ("az", "azure", cfg!(feature = "azure")),
    ("abfs", "azure", cfg!(feature = "azure")),
    ("abfss", "azure", cfg!(feature = "azure")),
];

/// Opens a folder, which is made if need be, or a place in a cloud; says why not.
pub(super) fn open(url: &str) -> Result<Arc<dyn ObjectStore>, String> {
    let folder = match url.split_once("://") {
        None => url,
        Some(("file", path)) => path,
        Some((scheme, _)) => return cloud(url, scheme),
    };
    if folder.is_empty() {
        return Err("it names no folder".to_owned());
    }
    std::fs::create_dir_all(Path::new(folder))
        .map_err(|error| format!("the folder cannot be made: {error}"))?;
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| error.to_string())?;
    Ok(Arc::new(store.with_automatic_cleanup(false)))
}

fn cloud(url: &str, scheme: &str) -> Result<Arc<dyn ObjectStore>, String> {
    let Some((_, feature, is_here)) = CLOUDS.iter().find(|(known, ..)| *known == scheme) else {
        return Err(format!("`{scheme}` is no kind of store"));
    };
    if !is_here {
        return Err(format!("this build is without the feature `{feature}`"));
    }
    let parsed = Url::parse(url).map_err(|error| error.to_string())?;
    let settings = std::env::vars_os().filter_map(|(key, value)| {
        Some((key.into_string().ok()?.to_ascii_lowercase(), value.into_string().ok()?))
    });
    let (store, prefix) =
        object_store::parse_url_opts(&parsed, settings).map_err(|error| error.to_string())?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}
