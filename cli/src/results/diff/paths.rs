//! Lists of property paths: which are left out, and which lists keep their order.

const VOLATILE: &str = include_str!("volatile.txt");
const ORDERED: &str = include_str!("ordered.txt");

/// Paths of properties, each of one type or of all.
#[derive(Debug, Default)]
pub struct Paths(Vec<(Option<String>, Vec<String>)>);

impl Paths {
    /// What changes by itself.
    pub fn volatile() -> Self {
        Self::of_lines(VOLATILE)
    }

    /// Lists whose order has a meaning.
    pub fn ordered() -> Self {
        Self::of_lines(ORDERED)
    }

    fn of_lines(text: &str) -> Self {
        let mut paths = Self::default();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            paths.add(line);
        }
        paths
    }

    /// Adds `PATH`, or `TYPE PATH`.
    pub fn add(&mut self, text: &str) {
        let (kind, path) = match text.trim().split_once(' ') {
            Some(("*", path)) => (None, path),
            Some((kind, path)) => (Some(kind.to_owned()), path),
            None => (None, text.trim()),
        };
        self.0.push((kind, path.trim().split('.').map(str::to_owned).collect()));
    }

    /// Whether the path, or one above it, is listed for the type.
    pub fn has(&self, kind: &str, path: &[String]) -> bool {
        self.0.iter().any(|(of, names)| {
            of.as_deref().is_none_or(|of| of == kind)
                && names.len() <= path.len()
                && names.iter().zip(path).all(|(name, here)| name == "*" || name == here)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_path_covers_what_is_below_it_and_one_type_only_where_it_says_so() {
        let mut paths = Paths::volatile();
        paths.add("AWS::X::Y properties.*.Seen");
        assert!(paths.has("AWS::IAM::Role", &path("properties.RoleLastUsed.Region")));
        assert!(!paths.has("AWS::IAM::Role", &path("properties.RoleLastUsedBy")));
        assert!(!paths.has("AWS::IAM::Role", &path("properties")));
        assert!(paths.has("AWS::X::Y", &path("properties.a.Seen")));
        assert!(!paths.has("AWS::X::Z", &path("properties.a.Seen")));
    }
}
