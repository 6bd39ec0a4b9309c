//! Which Unix sockets may be registered.
//!
//! callboard connects to them with its own rights, which may be more than the registrant's: what is
//! not named is refused, and so is a path that has to be resolved to tell where it leads. Symbolic
//! links are not looked at, for they can be changed afterwards: whoever may write to a folder that is
//! allowed decides where callboard connects to.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::address::UNIX;

/// Sockets that may be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedPath {
    /// The one at this path.
    Socket(PathBuf),
    /// Those in this folder, and in the folders in it.
    Folder(PathBuf),
}

impl AllowedPath {
    /// What an operator wrote: an absolute path, which is a folder's if it ends with `/`. `None` if it
    /// is none, or not written as [`is_plain`] asks.
    pub fn parse(text: &str) -> Option<Self> {
        let path = Path::new(text);
        match text.strip_suffix('/') {
            Some("") => Some(Self::Folder(path.to_owned())),
            Some(folder) => is_plain(Path::new(folder)).then(|| Self::Folder(path.to_owned())),
            None => is_plain(path).then(|| Self::Socket(path.to_owned())),
        }
    }

    /// Whether the socket at `path`, which [`is_plain`], is among them.
    pub(super) fn contains(&self, path: &Path) -> bool {
        match self {
            Self::Socket(socket) => path == socket,
            // Compared by whole components: /run/app is not above /run/app2/a.sock.
            Self::Folder(folder) => path.starts_with(folder) && path != folder,
        }
    }
}

/// As it is written in the configuration.
impl fmt::Display for AllowedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Socket(path) | Self::Folder(path)) = self;
        write!(f, "{UNIX}{}", path.display())
    }
}

/// Whether a path is absolute and each of its parts the name of something: not empty, `.` or `..`.
pub(super) fn is_plain(path: &Path) -> bool {
    let parts = path.to_str().and_then(|text| text.strip_prefix('/'));
    parts.is_some_and(|parts| {
        parts
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(allowed: &str, path: &str) -> bool {
        AllowedPath::parse(allowed)
            .unwrap()
            .contains(Path::new(path))
    }

    #[test]
    fn a_folder_is_all_below_it_and_a_path_is_itself() {
        assert!(allows("/run/app/", "/run/app/a.sock"));
        assert!(allows("/run/app/", "/run/app/b/a.sock"));
        assert!(allows("/", "/a.sock"));
        assert!(allows("/run/a.sock", "/run/a.sock"));
        for path in ["/run/app", "/run/app2/a.sock", "/run/a.sock", "/"] {
            assert!(!allows("/run/app/", path), "{path}");
        }
        assert!(!allows("/run/a.sock", "/run/a.sock/b"));
    }

    #[test]
    fn what_has_to_be_resolved_is_not_plain() {
        for path in ["/run/a.sock", "/a", "/run/...", "/run/.hidden"] {
            assert!(is_plain(Path::new(path)), "{path}");
        }
        for path in [
            "",
            "/",
            "a",
            "/run/../a",
            "/run/./a",
            "/run//a",
            "/run/",
            "/..",
        ] {
            assert!(!is_plain(Path::new(path)), "{path}");
        }
        assert_eq!(AllowedPath::parse("/run/../"), None);
        assert_eq!(AllowedPath::parse("run/"), None);
    }

    proptest! {
        #[test]
        fn a_plain_path_below_a_folder_resolves_to_below_it(parts in "(/(a|b|\\.|\\.\\.|)){0,6}") {
            let path = Path::new(&parts);
            if is_plain(path) && allows("/a/", &parts) {
                let resolved = path.components().fold(PathBuf::new(), |mut so_far, part| {
                    match part {
                        std::path::Component::ParentDir => { so_far.pop(); }
                        part => so_far.push(part),
                    }
                    so_far
                });
                prop_assert!(resolved.starts_with("/a") && resolved != Path::new("/a"));
            }
        }
    }
}
