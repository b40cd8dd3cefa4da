//! Reads selectors by recursive descent, straight from the grammar of specification §2.1.

use super::Expression::{
    self, All, And, Contains, EndsWith, Global, Has, In, Is, IsNot, Not, NotIn, Or, StartsWith,
};

struct Rest<'a>(&'a str);

/// The whole text as one expression.
pub(super) fn expression(text: &str) -> Option<Expression> {
    let mut rest = Rest(text);
    let found = rest.or()?;
    rest.blanks();
    rest.0.is_empty().then_some(found)
}

impl Rest<'_> {
    fn blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn must(&mut self, token: &str) -> Option<()> {
        self.take(token).then_some(())
    }

    fn or(&mut self) -> Option<Expression> {
        let mut list = vec![self.and()?];
        while self.take("||") {
            list.push(self.and()?);
        }
        one_or(list, Or)
    }

    fn and(&mut self) -> Option<Expression> {
        let mut list = vec![self.unary()?];
        while self.take("&&") {
            list.push(self.unary()?);
        }
        one_or(list, And)
    }

    fn unary(&mut self) -> Option<Expression> {
        if self.take("!") {
            return Some(Not(Box::new(self.unary()?)));
        }
        self.primary()
    }

    fn primary(&mut self) -> Option<Expression> {
        if self.take("(") {
            let inner = self.or()?;
            return self.must(")").map(|()| inner);
        }
        if self.take("has(") {
            let key = self.label()?;
            return self.must(")").map(|()| Has(key));
        }
        if self.take("all(") {
            return self.must(")").map(|()| All);
        }
        if self.take("global(") {
            return self.must(")").map(|()| Global);
        }
        let key = self.label()?;
        self.comparison(key)
    }

    fn comparison(&mut self, key: String) -> Option<Expression> {
        if self.take("==") {
            return Some(Is(key, self.text()?));
        }
        if self.take("!=") {
            return Some(IsNot(key, self.text()?));
        }
        if self.take("contains") {
            return Some(Contains(key, self.text()?));
        }
        if self.take("starts") {
            self.must("with")?;
            return Some(StartsWith(key, self.text()?));
        }
        if self.take("ends") {
            self.must("with")?;
            return Some(EndsWith(key, self.text()?));
        }
        if self.take("not") {
            self.must("in")?;
            return Some(NotIn(key, self.texts()?));
        }
        self.must("in")?;
        Some(In(key, self.texts()?))
    }

    fn label(&mut self) -> Option<String> {
        self.blanks();
        let is_label = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        let end = self.0.find(|c| !is_label(c)).unwrap_or(self.0.len());
        let (label, rest) = self.0.split_at(end);
        self.0 = rest;
        (!label.is_empty()).then(|| label.to_owned())
    }

    fn text(&mut self) -> Option<String> {
        self.blanks();
        let quote = self.0.chars().next().filter(|c| "'\"".contains(*c))?;
        let (text, rest) = self.0.get(1..)?.split_once(quote)?;
        self.0 = rest;
        Some(text.to_owned())
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        self.must("{")?;
        let mut texts = Vec::new();
        while !self.take("}") {
            texts.push(self.text()?);
            if !self.take(",") {
                return self.must("}").map(|()| texts);
            }
        }
        Some(texts)
    }
}

fn one_or(
    mut list: Vec<Expression>,
    many: fn(Vec<Expression>) -> Expression,
) -> Option<Expression> {
    match list.len() {
        1 => list.pop(),
        _ => Some(many(list)),
    }
}
