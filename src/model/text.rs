//! Text of one form, as a type.

/// A type for text of one form: a name, an id, an ARN. The form is checked wherever such a value is made, and the JSON Schema says it too:
///
/// ```ignore
/// aaws::text_type! {
///     /// A vault's name.
///     pub struct VaultName { "type": "string", "pattern": "^[a-zA-Z0-9_-]{2,50}$" } |name| {
///         if (2..=50).contains(&name.len()) { Ok(()) } else { Err(format!("`{name}` is not the name of a vault")) }
///     }
/// }
/// ```
///
/// The check gives the sentence that says what is wrong; it becomes bad input (exit code 2) in every front end. The type has `as_str`, `Display`,
/// `FromStr`, `TryFrom<String>` and `TryFrom<&str>`, turns into a `String`, is read and written as JSON text, and has a `JsonSchema`. With
/// `#[derive(Default)]` among its attributes it has an empty default, which is not checked: for inputs that are written with `..Default::default()`,
/// whose action has to refuse the empty one.
#[macro_export]
macro_rules! text_type {
    ($(#[$meta:meta])* $vis:vis struct $type:ident $schema:tt |$text:ident| $check:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis struct $type(::std::string::String);

        impl $type {
            /// The text of it.
            #[allow(dead_code)]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn check($text: &str) -> ::std::result::Result<(), ::std::string::String> {
                $check
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = ::std::string::String;

            fn from_str(text: &str) -> ::std::result::Result<Self, ::std::string::String> {
                Self::check(text).map(|()| $type(text.to_owned()))
            }
        }

        impl ::std::convert::TryFrom<::std::string::String> for $type {
            type Error = ::std::string::String;

            fn try_from(text: ::std::string::String) -> ::std::result::Result<Self, ::std::string::String> {
                Self::check(&text).map(|()| $type(text))
            }
        }

        impl ::std::convert::TryFrom<&str> for $type {
            type Error = ::std::string::String;

            fn try_from(text: &str) -> ::std::result::Result<Self, ::std::string::String> {
                text.parse()
            }
        }

        impl ::std::convert::From<$type> for ::std::string::String {
            fn from(text: $type) -> ::std::string::String {
                text.0
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {
                let text = <::std::string::String as $crate::serde::Deserialize>::deserialize(deserializer)?;
                <Self as ::std::convert::TryFrom<::std::string::String>>::try_from(text).map_err(<D::Error as $crate::serde::de::Error>::custom)
            }
        }

        impl $crate::serde::Serialize for $type {
            fn serialize<S: $crate::serde::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl $crate::schemars::JsonSchema for $type {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(stringify!($type))
            }

            fn json_schema(_: &mut $crate::schemars::SchemaGenerator) -> $crate::schemars::Schema {
                $crate::schemars::json_schema!($schema)
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

#[cfg(test)]
mod tests {
    crate::text_type! {
        /// Two letters.
        #[derive(Default)]
        struct Code { "type": "string", "pattern": "^[a-z]{2}$" } |code| {
            let fits = code.len() == 2 && code.bytes().all(|b| b.is_ascii_lowercase());
            if fits { Ok(()) } else { Err(format!("`{code}` is not two letters")) }
        }
    }

    #[test]
    fn a_text_type_checks_its_text_wherever_it_comes_from() {
        assert_eq!("ab".parse::<Code>().map(String::from), Ok("ab".to_owned()));
        assert_eq!(Code::try_from("abc").map(|c| c.to_string()), Err("`abc` is not two letters".to_owned()));
        assert_eq!(Code::try_from("ab".to_owned()).ok().as_ref().map(Code::as_str), Some("ab"));
        let read = serde_json::from_str::<Code>("\"a1\"").map_err(|e| e.to_string());
        assert!(read.is_err_and(|e| e.contains("is not two letters")));
        let read = serde_json::from_str::<Code>("\"ab\"").and_then(|code| serde_json::to_string(&code));
        assert_eq!(read.ok().as_deref(), Some("\"ab\""));
        assert_eq!(Code::default().as_str(), "");
    }
}
