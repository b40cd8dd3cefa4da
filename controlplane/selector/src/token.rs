//! Reading pieces of a selector from its text: blanks, words, strings. Keeps the place for errors.
//!
//! Words are operators only in operator position, so this is a cursor the parser asks, not a stream of tokens.

use crate::ast::{Label, Literal, is_label_byte};
use crate::error::{ParseError, ParseErrorKind};

/// A position in the text. Always on a character boundary.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    pub(crate) fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Blanks and tabs. A line break is not a blank.
    pub(crate) fn skip_blanks(&mut self) {
        self.at += self
            .rest()
            .bytes()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
    }

    /// Takes `piece` where the text goes on with it.
    pub(crate) fn take(&mut self, piece: &str) -> bool {
        let found = self.rest().starts_with(piece);
        if found {
            self.at += piece.len();
        }
        found
    }

    /// Takes `word` where it stands whole, not as the beginning of a longer word.
    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let found = self.word() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes two words with or without blanks between them, such as `starts with` or `startswith`.
    pub(crate) fn take_words(&mut self, first: &str, second: &str) -> bool {
        let start = self.at;
        if self.take(first) {
            self.skip_blanks();
            if self.take_word(second) {
                return true;
            }
        }
        self.at = start;
        false
    }

    /// Characters of a label from here on, perhaps none.
    pub(crate) fn word(&self) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| is_label_byte(*byte)).count();
        rest.get(..length).unwrap_or_default()
    }

    /// Takes a label; `otherwise` where none stands here.
    pub(crate) fn label(&mut self, otherwise: ParseErrorKind) -> Result<Label, ParseError> {
        let word = self.word();
        if word.len() > Label::MAX {
            return Err(self.error(word.len(), ParseErrorKind::LabelTooLong(word.len())));
        }
        let label = Label::new(word).ok_or_else(|| self.unexpected(otherwise))?;
        self.at += word.len();
        Ok(label)
    }

    /// Takes a quoted string.
    pub(crate) fn string(&mut self) -> Result<Literal, ParseError> {
        let rest = self.rest();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let quote = quote.ok_or_else(|| self.unexpected(ParseErrorKind::ExpectedString))?;
        let body = rest.get(1..).unwrap_or_default();
        let unterminated = || self.error(rest.len(), ParseErrorKind::UnterminatedString);
        let end = body.find(quote).ok_or_else(unterminated)?;
        let literal = body
            .get(..end)
            .and_then(Literal::new)
            .ok_or_else(unterminated)?;
        self.at += end + 2;
        Ok(literal)
    }

    /// An error over the next `length` bytes.
    pub(crate) fn error(&self, length: usize, kind: ParseErrorKind) -> ParseError {
        ParseError {
            offset: self.at,
            length,
            kind,
        }
    }

    /// An error at the next word, string quote or character; says what is wrong with the character itself where that is clear.
    pub(crate) fn unexpected(&self, kind: ParseErrorKind) -> ParseError {
        let first = self.rest().chars().next();
        let kind = match first {
            Some('\n' | '\r') => ParseErrorKind::LineBreak,
            Some('=') if !self.rest().starts_with("==") => ParseErrorKind::LoneEquals,
            Some('&') if !self.rest().starts_with("&&") => ParseErrorKind::LoneAmpersand,
            Some('|') if !self.rest().starts_with("||") => ParseErrorKind::LonePipe,
            _ => kind,
        };
        let length = match self.word().len() {
            0 => first.map_or(0, char::len_utf8),
            word => word,
        };
        self.error(length, kind)
    }
}
