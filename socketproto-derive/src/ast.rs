//! The declaration as the rest of the crate sees it: what the tokens mean, with the tokens kept for their spans.

use std::time::Duration;

use proc_macro2::{Literal, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Fields, Ident, LitStr, Path, Type, parse_quote};

use crate::attr::{self, Did, Item, Reader, Value};
use crate::ctxt::Ctxt;
use crate::duration;
use crate::sid::{self, Sid};
use crate::symbol::{Place, Vocabulary, Word};

/// A struct with `#[service]`, `#[sid]` and `#[did]` attributes.
pub(crate) struct Declaration<'a> {
    pub(crate) input: &'a DeriveInput,
    /// The path of the crate socketproto, as seen from the struct.
    pub(crate) krate: Path,
    pub(crate) name: Option<LitStr>,
    pub(crate) docs: String,
    /// `hooks`
    pub(crate) hooks: Option<Ident>,
    /// `own_thread`
    pub(crate) own_thread: Option<Ident>,
    /// `actor`
    pub(crate) actor: Option<Ident>,
    /// One for each `#[sid]`, in the order of the source.
    pub(crate) services: Vec<Sid>,
    /// One for each `#[did]`, in the order of the source.
    pub(crate) data: Vec<Datum>,
}

/// One `#[did]`.
pub(crate) struct Datum {
    pub(crate) id: Id,
    pub(crate) place: Place,
    pub(crate) name: Option<LitStr>,
    pub(crate) docs: String,
    pub(crate) public: bool,
    pub(crate) notify: Option<Ident>,
    pub(crate) exclusive: Option<Ident>,
    pub(crate) blocking: Option<Ident>,
    pub(crate) no_cancel: Option<Ident>,
    pub(crate) timeout: Option<Duration>,
    /// The method behind `..`.
    pub(crate) fallback: Option<Ident>,
    pub(crate) operations: Vec<Operation>,
    /// Whether every word could be read; rules about missing words wait for that.
    pub(crate) is_complete: bool,
}

/// A data id.
#[derive(Clone)]
pub(crate) enum Id {
    Number(u32, Span),
    Constant(Path),
    /// `..`: every id that is not declared.
    Rest(Span),
}

/// One operation on a datum; an entry of the table.
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    /// The word that declares it.
    pub(crate) word: Ident,
    pub(crate) handler: Handler,
}

/// What is done with a datum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Read,
    Write,
    Execute,
    /// Something of the application: the service at this position among those of the struct.
    Own(usize),
}

/// Who serves an operation.
pub(crate) enum Handler {
    /// The field is encoded.
    Load(Field),
    /// The value is stored in the field.
    Store(Field),
    /// The value is handed to a method.
    Setter(Field, Ident),
    /// A method is called.
    Method(Signature),
    /// A method takes every id that nobody else takes.
    Fallback(Ident),
}

/// A field with a `#[did]`.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
}

/// `async fn ident(inputs) -> output`
pub(crate) struct Signature {
    pub(crate) is_async: bool,
    pub(crate) ident: Ident,
    pub(crate) inputs: Vec<Input>,
    pub(crate) output: Option<Type>,
}

/// A parameter of a method.
pub(crate) enum Input {
    /// `cx`
    Context(Ident),
    /// `ident: ty`
    Argument(Ident, Box<Type>),
}

impl<'a> Declaration<'a> {
    /// Reads a declaration as far as it can be read; what cannot be is reported and left out.
    pub(crate) fn new(ctxt: &Ctxt, input: &'a DeriveInput) -> Self {
        let services = sid::sids(ctxt, &input.attrs);
        let words = Vocabulary::new(services.iter().map(|sid| sid.name.unraw().to_string()));
        let reader = Reader { ctxt, words: &words };
        let mut declaration = Self {
            input,
            krate: parse_quote!(::socketproto),
            name: None,
            docs: attr::docs(&input.attrs),
            hooks: None,
            own_thread: None,
            actor: None,
            services,
            data: Vec::new(),
        };
        for item in reader.service(&input.attrs) {
            declaration.set(item);
        }
        for did in reader.dids(&input.attrs, Place::Struct) {
            declaration.data.push(Datum::new(ctxt, did, None, String::new()));
        }
        declaration.read_fields(reader);
        declaration
    }

    /// The name of the service.
    pub(crate) fn name(&self) -> String {
        self.name.as_ref().map_or_else(|| self.input.ident.unraw().to_string(), LitStr::value)
    }

    /// The entries of the table, each with its datum.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Datum, &Operation)> {
        self.data.iter().flat_map(|datum| datum.operations.iter().map(move |operation| (datum, operation)))
    }

    /// The request id of a kind of operation, as an expression.
    pub(crate) fn service_id(&self, kind: Kind) -> TokenStream {
        match kind {
            Kind::Read => quote!(_socketproto::ServiceId::READ_REQUEST),
            Kind::Write => quote!(_socketproto::ServiceId::WRITE_REQUEST),
            Kind::Execute => quote!(_socketproto::ServiceId::EXECUTE_REQUEST),
            Kind::Own(position) => service_id(self.services[position].request()),
        }
    }

    fn set(&mut self, item: Item) {
        match (item.word, item.value) {
            (Word::Name, Value::Text(name)) => self.name = Some(name),
            (Word::Crate, Value::Path(path)) => self.krate = path,
            (Word::Hooks, _) => self.hooks = Some(item.ident),
            (Word::OwnThread, _) => self.own_thread = Some(item.ident),
            (Word::Actor, _) => self.actor = Some(item.ident),
            _ => {}
        }
    }

    fn read_fields(&mut self, reader: Reader<'_>) {
        let Some(fields) = named_fields(reader.ctxt, &self.input.data) else { return };
        for field in fields {
            attr::refuse_on_field(reader.ctxt, &field.attrs);
            let Some(ident) = field.ident.clone() else { continue };
            let model = Field { ident, ty: field.ty.clone() };
            for did in reader.dids(&field.attrs, Place::Field) {
                self.data.push(Datum::new(reader.ctxt, did, Some(&model), attr::docs(&field.attrs)));
            }
        }
    }
}

/// The fields of a struct that can be a service; a struct without fields can, too.
fn named_fields<'a>(ctxt: &Ctxt, data: &'a Data) -> Option<impl Iterator<Item = &'a syn::Field>> {
    match data {
        Data::Struct(data) => match &data.fields {
            Fields::Unnamed(fields) => {
                let message = "a service is a struct with named fields: `#[did]` takes the names from them";
                ctxt.error_at(fields.paren_token.span.join(), message);
                None
            }
            fields => Some(fields.iter()),
        },
        Data::Enum(data) => {
            ctxt.error(data.enum_token, "a service is a struct with named fields, not an enum");
            None
        }
        Data::Union(data) => {
            ctxt.error(data.union_token, "a service is a struct with named fields, not a union");
            None
        }
    }
}

impl Datum {
    fn new(ctxt: &Ctxt, did: Did, field: Option<&Field>, docs: String) -> Self {
        let place = match (field, &did.id) {
            (Some(_), _) => Place::Field,
            (None, Id::Rest(_)) => Place::Rest,
            (None, _) => Place::Struct,
        };
        let mut datum = Self {
            id: did.id,
            place,
            name: None,
            docs,
            public: false,
            notify: None,
            exclusive: None,
            blocking: None,
            no_cancel: None,
            timeout: None,
            fallback: fallback(&did.items),
            operations: Vec::new(),
            is_complete: did.is_complete,
        };
        for item in did.items {
            datum.set(ctxt, item, field);
        }
        datum
    }

    /// The name of an entry: what `name` says, else the field's or method's.
    pub(crate) fn name_of(&self, operation: &Operation) -> String {
        match &self.name {
            Some(name) => name.value(),
            None => operation.handler.ident().unraw().to_string(),
        }
    }

    fn set(&mut self, ctxt: &Ctxt, item: Item, field: Option<&Field>) {
        match (item.word, item.value) {
            (Word::Name, Value::Text(name)) => self.name = Some(name),
            (Word::Public, _) => self.public = true,
            (Word::Notify, _) => self.notify = Some(item.ident),
            (Word::Exclusive, _) => self.exclusive = Some(item.ident),
            (Word::Blocking, _) => self.blocking = Some(item.ident),
            (Word::NoCancel, _) => self.no_cancel = Some(item.ident),
            (Word::Timeout, Value::Text(text)) => self.timeout = ctxt.report(duration::parse(&text)),
            (Word::Fallback, Value::Path(path)) => {
                self.is_complete &= method(ctxt, &path).is_some();
            }
            (Word::Operation(kind), _) if self.place == Place::Rest => {
                let handler = self.fallback.clone().map(Handler::Fallback);
                self.operations.extend(handler.map(|handler| Operation { kind, word: item.ident, handler }));
            }
            (Word::Operation(kind), value) => {
                let handler = Handler::new(ctxt, kind, value, field);
                self.is_complete &= handler.is_some();
                self.operations.extend(handler.map(|handler| Operation { kind, word: item.ident, handler }));
            }
            _ => {}
        }
    }
}

impl Id {
    /// The id as it is written, for texts.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Number(value, _) => value.to_string(),
            Self::Constant(path) => path.to_token_stream().to_string().replace(' ', ""),
            Self::Rest(_) => "..".to_owned(),
        }
    }

    /// Where to point.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Number(_, span) | Self::Rest(span) => *span,
            Self::Constant(path) => {
                path.segments.last().map_or_else(Span::call_site, |last| last.ident.span())
            }
        }
    }
}

impl Kind {
    /// What a client's method does, for its docs.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Read => "Reads",
            Self::Write => "Writes",
            Self::Execute => "Executes",
            Self::Own(_) => "Calls",
        }
    }
}

/// A service id as an expression.
pub(crate) fn service_id(value: u32) -> TokenStream {
    let value = Literal::u32_unsuffixed(value);
    quote!(_socketproto::ServiceId::new(#value))
}

/// The method that `fallback` names, wherever the word stands.
fn fallback(items: &[Item]) -> Option<Ident> {
    items.iter().find_map(|item| match (item.word, &item.value) {
        (Word::Fallback, Value::Path(path)) => path.get_ident().cloned(),
        _ => None,
    })
}

/// The method of the struct that a path names.
fn method(ctxt: &Ctxt, path: &Path) -> Option<Ident> {
    let ident = path.get_ident().cloned();
    if ident.is_none() {
        ctxt.error(path, "expected the name of a method of the struct, without a path");
    }
    ident
}

impl Handler {
    /// The handler an operation names; the words' table has refused all other combinations.
    fn new(ctxt: &Ctxt, kind: Kind, value: Value, field: Option<&Field>) -> Option<Self> {
        match (field.cloned(), kind, value) {
            (Some(field), Kind::Read, _) => Some(Self::Load(field)),
            (Some(field), _, Value::Path(path)) => {
                method(ctxt, &path).map(|method| Self::Setter(field, method))
            }
            (Some(field), ..) => Some(Self::Store(field)),
            (None, _, Value::Signature(signature)) => Some(Self::Method(*signature)),
            (None, ..) => None,
        }
    }

    /// The field's name, or the method's.
    pub(crate) fn ident(&self) -> &Ident {
        match self {
            Self::Load(field) | Self::Store(field) | Self::Setter(field, _) => &field.ident,
            Self::Method(signature) => &signature.ident,
            Self::Fallback(method) => method,
        }
    }
}

impl Signature {
    /// The parameters that travel.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = (&Ident, &Type)> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Argument(ident, ty) => Some((ident, &**ty)),
            Input::Context(_) => None,
        })
    }

    /// The declared type of the reply; the unit type where none is written.
    pub(crate) fn reply(&self) -> Type {
        self.output.clone().unwrap_or_else(|| parse_quote!(()))
    }
}
