//! What an image brings to its containers: their defaults and the directories below them.

use crate::Local;
use crate::error::{Error, Result};
use crate::image::list::Catalogue;
use crate::image::record::{ImageRecord, LayerRecord};
use mica_api::types::container::{ContainerConfig, Empty, Healthcheck};
use mica_image::{Config, ImageConfig};
use mica_model::ErrorKind;
use mica_snapshot::LayerKey;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

impl Local {
    /// The config of an image, compared with its id.
    pub(crate) fn image_config(&self, image: &ImageRecord) -> Result<ImageConfig> {
        let document = match self.blobs.read(&image.id) {
            // Its record goes before its config does.
            Err(mica_image::Error::BlobMissing { .. })
                if ImageRecord::by_id(&self.database(), &image.id)?.is_none() =>
            {
                return Err(Error::NoSuchImage { reference: image.id.to_string() });
            }
            other => other?,
        };
        Ok(ImageConfig::parse(document)?)
    }

    /// Where the layers of an image lie, base first. Nothing is looked at on the disk.
    #[expect(clippy::unnecessary_wraps, reason = "a kind of store without directories will have to refuse")]
    pub(crate) fn layer_directories(&self, image: &ImageRecord) -> Result<Vec<PathBuf>> {
        Ok(image.layers.iter().map(|layer| self.layer_directory(layer)).collect())
    }

    /// Where one layer lies.
    pub(crate) fn layer_directory(&self, layer: &LayerRecord) -> PathBuf {
        self.layers.tree(&layer.key())
    }

    /// Ids of the named images and of those that stand on them: by their records, or by having
    /// the same layers at the base.
    pub(crate) fn descendants(&self, names: &[&str]) -> Result<Vec<String>> {
        let mut wanted = Vec::new();
        for name in names {
            match ImageRecord::find(&self.database(), name) {
                Ok(image) => wanted.push(image),
                // Nothing stands on what is not there.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let catalogue = Catalogue::read(self)?;
        let stands_on =
            |image: &ImageRecord| wanted.iter().any(|ancestor| is_descendant(&catalogue, image, ancestor));
        Ok(catalogue
            .images
            .iter()
            .filter(|image| stands_on(image))
            .map(|image| image.id.to_string())
            .collect())
    }
}

impl LayerRecord {
    /// Its name in the store.
    pub(crate) fn key(&self) -> LayerKey {
        LayerKey { diff_id: self.diff_id, chain: self.chain }
    }
}

fn is_descendant(catalogue: &Catalogue, image: &ImageRecord, ancestor: &ImageRecord) -> bool {
    let mut next = Some(image);
    // A damaged record must not make a circle endless.
    for _ in 0..=catalogue.images.len() {
        match next {
            Some(image) if image.id == ancestor.id => return true,
            Some(image) => next = image.parent.and_then(|parent| catalogue.by_id(&parent)),
            None => break,
        }
    }
    !ancestor.layers.is_empty()
        && image.layers.len() > ancestor.layers.len()
        && image.layers.iter().zip(&ancestor.layers).all(|(own, below)| own.diff_id == below.diff_id)
}

/// The defaults of an image in the words of the road.
pub(crate) fn container_config(image: &ImageConfig) -> ContainerConfig {
    let config = image.config().clone();
    let optional = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    ContainerConfig {
        user: config.user,
        exposed_ports: Some(to_map(config.exposed_ports)).filter(|ports| !ports.is_empty()),
        env: Some(config.env),
        cmd: config.cmd,
        healthcheck: config.healthcheck.map(|check| Healthcheck {
            test: check.test,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        volumes: Some(to_map(config.volumes)).filter(|volumes| !volumes.is_empty()),
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        on_build: optional(config.on_build),
        labels: Some(config.labels).filter(|labels| !labels.is_empty()),
        stop_signal: Some(config.stop_signal).filter(|signal| !signal.is_empty()),
        shell: config.shell,
        ..ContainerConfig::default()
    }
}

/// The defaults that an image made of a container gets.
pub(crate) fn image_defaults(container: ContainerConfig) -> Config {
    Config {
        user: container.user,
        exposed_ports: to_set(container.exposed_ports),
        env: container.env.unwrap_or_default(),
        entrypoint: container.entrypoint,
        cmd: container.cmd,
        volumes: to_set(container.volumes),
        working_dir: container.working_dir,
        labels: container.labels.unwrap_or_default(),
        stop_signal: container.stop_signal.unwrap_or_default(),
        args_escaped: false,
        healthcheck: container.healthcheck.map(|check| mica_image::Healthcheck {
            test: check.test,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        on_build: container.on_build.unwrap_or_default(),
        shell: container.shell,
    }
}

fn to_map(set: BTreeSet<String>) -> BTreeMap<String, Empty> {
    set.into_iter().map(|key| (key, Empty {})).collect()
}

fn to_set(map: Option<BTreeMap<String, Empty>>) -> BTreeSet<String> {
    map.unwrap_or_default().into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_image::NewImage;

    #[test]
    fn defaults_go_there_and_back() {
        let config = Config {
            user: "1:2".to_owned(),
            exposed_ports: BTreeSet::from(["80/tcp".to_owned()]),
            env: vec!["A=1".to_owned()],
            entrypoint: Some(vec!["/x".to_owned()]),
            volumes: BTreeSet::from(["/data".to_owned()]),
            labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            stop_signal: "SIGINT".to_owned(),
            shell: Some(vec!["/bin/ash".to_owned()]),
            healthcheck: Some(mica_image::Healthcheck {
                test: vec!["NONE".to_owned()],
                ..Default::default()
            }),
            ..Config::default()
        };
        let image = NewImage { config: config.clone(), ..NewImage::default() }.into_config().unwrap();
        assert_eq!(image_defaults(container_config(&image)), config);
    }
}
