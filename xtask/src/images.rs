//! `cargo xtask images`: an OCI archive with the three images of the chart, each one binary.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use xtask_components::target_dir;
use xtask_images::{Binary, Image, Profile, build, write};

/// What `cargo xtask images` does.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagesArgs {
    /// The archive [default: penstock-images.tar in the target folder]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Where the images are said to come from
    #[arg(long, default_value = "docker.io/penstock")]
    repository: String,
    /// Their tag
    #[arg(long, default_value = "dev")]
    tag: String,
    /// As they are shipped: optimised, some minutes for each
    #[arg(long)]
    release: bool,
    /// These alone, for example penstock-proxy
    #[arg(value_name = "IMAGE")]
    only: Vec<String>,
}

/// An image of the chart.
struct Part {
    binary: Binary<'static>,
    /// A program that it carries for others: the agent copies the plugin to the node.
    carries: Option<Binary<'static>>,
    /// User and group; the agent is root without root's powers (the chart says which it keeps).
    user: &'static str,
}

/// The proxy is built apart for tests too: with the features that others need of its crates it would have
/// a compiler.
const PARTS: [Part; 3] = [
    part("penstock-controller", "penstock-operator", false, None, "65532:65532"),
    part("penstock-agent", "penstock-agent", false, Some(CNI), "0:65532"),
    part("penstock-proxy", "penstock-proxy", true, None, "65532:65532"),
];

const CNI: Binary<'static> = Binary { package: "penstock-cni", name: "penstock-cni", apart: false };

const fn part(
    package: &'static str,
    name: &'static str,
    apart: bool,
    carries: Option<Binary<'static>>,
    user: &'static str,
) -> Part {
    Part { binary: Binary { package, name, apart }, carries, user }
}

/// Builds the binaries and writes the archive. The same sources give the same bytes.
///
/// # Errors
/// A binary does not build; the archive cannot be written; an unknown image is asked for.
pub(crate) fn run(args: &ImagesArgs) -> Result<()> {
    if let Some(unknown) = args.only.iter().find(|n| PARTS.iter().all(|p| p.binary.name != **n)) {
        let known = PARTS.map(|part| part.binary.name).join(", ");
        bail!("there is no image {unknown}; there are {known}");
    }
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    let asked = |part: &&Part| {
        args.only.is_empty() || args.only.iter().any(|name| name == part.binary.name)
    };
    let mut images = Vec::new();
    for part in PARTS.iter().filter(asked) {
        let start = Instant::now();
        let image = image(part, profile, &format!("{}/{}", args.repository, part.binary.name))?;
        let size = image.files.iter().map(|file| file.content.len()).sum::<usize>();
        println!(
            "{:<18} {:>6.1} MiB  built in {:.0} s",
            part.binary.name,
            size as f64 / f64::from(1 << 20),
            start.elapsed().as_secs_f32()
        );
        images.push(Image { name: format!("{}:{}", image.name, args.tag), ..image });
    }
    let to = args.to.clone().unwrap_or_else(|| target_dir().join("penstock-images.tar"));
    write(&images, &to).with_context(|| format!("cannot write {}", to.display()))?;
    println!("wrote {}", to.display());
    Ok(())
}

fn image(part: &Part, profile: Profile, name: &str) -> Result<Image> {
    let path = build(part.binary, profile)?;
    let mut image =
        Image { user: part.user.to_owned(), ..Image::of(name, &path, part.binary.name)? };
    if let Some(carried) = part.carries {
        let path = build(carried, profile)?;
        let files = Image::of(name, &path, carried.name)?.files;
        let known: BTreeSet<_> = image.files.iter().map(|file| file.path.clone()).collect();
        image.files.extend(files.into_iter().filter(|file| !known.contains(&file.path)));
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containerfile_makes_the_same_images() {
        let file = std::fs::read_to_string(xtask_images::root().join("Containerfile"));
        let file = file.expect("a Containerfile");
        for Part { binary, carries, user } in &PARTS {
            let copies =
                std::iter::once(binary).chain(carries).map(|Binary { package, name, .. }| {
                    assert!(file.contains(&format!("--package {package} --bin {name} ")), "{name}");
                    format!("COPY --from=build /out/{name} /{name}\n")
                });
            let (copies, name) = (copies.collect::<String>(), binary.name);
            let stage =
                format!("FROM scratch AS {name}\n{copies}USER {user}\nENTRYPOINT [\"/{name}\"]\n");
            assert!(file.contains(&stage), "{name}");
        }
        assert_eq!(file.matches("FROM scratch").count(), PARTS.len());
    }

    #[test]
    fn an_image_that_there_is_not_is_refused_with_those_that_there_are() {
        let args = ImagesArgs {
            to: None,
            repository: "docker.io/penstock".into(),
            tag: "dev".into(),
            release: false,
            only: vec!["penstock-prox".into()],
        };
        let error = run(&args).expect_err("no such image").to_string();
        assert!(error.contains("penstock-operator, penstock-agent, penstock-proxy"), "{error}");
    }
}
