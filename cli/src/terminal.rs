use std::{borrow::Cow, io::IsTerminal as _};

/// What the two output streams can show.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Progress may be drawn in place.
    pub live: bool,
    /// Text on stdout may be bold and coloured.
    pub styled: bool,
}

impl Terminal {
    pub fn find(no_color: bool) -> Self {
        Self { live: std::io::stderr().is_terminal(), styled: std::io::stdout().is_terminal() && !no_color }
    }

    pub fn bold(self, text: &str) -> String {
        self.style("1", text)
    }
    pub fn dim(self, text: &str) -> String {
        self.style("2", text)
    }
    pub fn green(self, text: &str) -> String {
        self.style("32", text)
    }
    pub fn yellow(self, text: &str) -> String {
        self.style("33", text)
    }
    pub fn red(self, text: &str) -> String {
        self.style("31", text)
    }

    /// A text of strangers, without what would steer a terminal.
    pub fn plain(text: &str) -> Cow<'_, str> {
        match text.contains(char::is_control) {
            true => Cow::Owned(text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()),
            false => Cow::Borrowed(text),
        }
    }

    fn style(self, code: &str, text: &str) -> String {
        if self.styled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
