//! The functions that every bake file has: those of docker's that only compute.

use super::evaluate::from_json;
use super::field;
use hcl::Value;
use hcl::eval::{Context, Func, FuncArgs, FuncDef, ParamType};
use sha2::Digest as _;

/// The function that templates are turned into.
pub(super) const TEXT: &str = "__text";

/// What a function does with its arguments.
type Answer = Result<Value, String>;

/// The functions.
const FUNCTIONS: &[(&str, Func)] = &[
    (TEXT, |arguments| Ok(Value::String(texts(arguments)?.concat()))),
    ("abs", |arguments| numbers(arguments, |numbers| first(numbers).map(f64::abs))),
    ("add", |arguments| numbers(arguments, |numbers| Some(numbers.iter().sum()))),
    ("and", |arguments| truths(arguments, |truths| truths.iter().all(|truth| *truth))),
    ("basename", |arguments| {
        one_text(arguments, |path| {
            path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
        })
    }),
    ("ceil", |arguments| numbers(arguments, |numbers| first(numbers).map(f64::ceil))),
    ("chomp", |arguments| one_text(arguments, |text| text.trim_end_matches(['\n', '\r']).to_owned())),
    ("coalesce", |arguments| {
        let is_set = |value: &Value| !value.is_null() && value.as_str() != Some("");
        arguments.into_values().into_iter().find(is_set).ok_or_else(|| "no argument has a value".to_owned())
    }),
    ("compact", |arguments| {
        Ok(Value::Array(list(arguments)?.into_iter().filter(|item| item.as_str() != Some("")).collect()))
    }),
    ("concat", |arguments| {
        let lists = arguments.into_values().into_iter().map(as_list).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::Array(lists.concat()))
    }),
    ("contains", |arguments| match two(arguments)? {
        (Value::Array(items), item) => Ok(Value::Bool(items.contains(&item))),
        (Value::String(text), Value::String(part)) => Ok(Value::Bool(text.contains(&part))),
        _ => Err("takes a list and a value".to_owned()),
    }),
    ("dirname", |arguments| {
        one_text(arguments, |path| match path.trim_end_matches('/').rsplit_once('/') {
            Some(("", _)) => "/".to_owned(),
            Some((directory, _)) => directory.to_owned(),
            None => ".".to_owned(),
        })
    }),
    ("distinct", |arguments| {
        let mut found: Vec<Value> = Vec::new();
        for item in list(arguments)? {
            if !found.contains(&item) {
                found.push(item);
            }
        }
        Ok(Value::Array(found))
    }),
    ("divide", |arguments| numbers(arguments, |numbers| Some(first(numbers)? / divisor(numbers)?))),
    ("equal", |arguments| two(arguments).map(|(left, right)| Value::Bool(left == right))),
    ("flatten", |arguments| Ok(Value::Array(flatten(list(arguments)?)))),
    ("floor", |arguments| numbers(arguments, |numbers| first(numbers).map(f64::floor))),
    ("format", |arguments| {
        let mut values = arguments.into_values().into_iter();
        let pattern = values.next().and_then(|value| field::text(&value)).ok_or("takes a text first")?;
        format(&pattern, values).map(Value::String)
    }),
    ("hasindex", |arguments| two(arguments).map(|(of, at)| Value::Bool(element(&of, &at).is_some()))),
    ("index", |arguments| {
        let (of, at) = two(arguments)?;
        element(&of, &at).ok_or_else(|| "there is no such element".to_owned())
    }),
    ("join", |arguments| {
        let (separator, items) = two(arguments)?;
        let separator = field::text(&separator).ok_or("takes a text first")?;
        let items = as_list(items)?.into_iter().map(|item| field::text(&item).ok_or("takes a list of texts"));
        Ok(Value::String(items.collect::<Result<Vec<_>, _>>()?.join(&separator)))
    }),
    ("jsondecode", |arguments| {
        let text = single_text(arguments)?;
        serde_json::from_str(&text).map(|value| from_json(&value)).map_err(|error| error.to_string())
    }),
    ("jsonencode", |arguments| {
        serde_json::to_string(&single(arguments)?).map(Value::String).map_err(|error| error.to_string())
    }),
    ("keys", |arguments| match single(arguments)? {
        Value::Object(members) => {
            let mut keys: Vec<String> = members.keys().cloned().collect();
            keys.sort();
            Ok(Value::Array(keys.into_iter().map(Value::String).collect()))
        }
        _ => Err("takes an object".to_owned()),
    }),
    ("length", |arguments| match single(arguments)? {
        Value::Array(items) => Ok(Value::from(items.len())),
        Value::Object(members) => Ok(Value::from(members.len())),
        Value::String(text) => Ok(Value::from(text.chars().count())),
        _ => Err("takes a list, an object or a text".to_owned()),
    }),
    ("lookup", |arguments| match three(arguments)? {
        (Value::Object(members), key, default) => {
            Ok(key.as_str().and_then(|key| members.get(key)).cloned().unwrap_or(default))
        }
        _ => Err("takes an object, a key and a default".to_owned()),
    }),
    ("lower", |arguments| one_text(arguments, str::to_lowercase)),
    ("max", |arguments| numbers(arguments, |numbers| numbers.iter().copied().reduce(f64::max))),
    ("merge", |arguments| {
        let mut merged = hcl::Map::new();
        for value in arguments.into_values() {
            let Value::Object(members) = value else { return Err("takes objects".to_owned()) };
            merged.extend(members);
        }
        Ok(Value::Object(merged))
    }),
    ("min", |arguments| numbers(arguments, |numbers| numbers.iter().copied().reduce(f64::min))),
    ("modulo", |arguments| numbers(arguments, |numbers| Some(first(numbers)? % divisor(numbers)?))),
    ("multiply", |arguments| numbers(arguments, |numbers| Some(numbers.iter().product()))),
    ("not", |arguments| truths(arguments, |truths| truths.first() == Some(&false))),
    ("notequal", |arguments| two(arguments).map(|(left, right)| Value::Bool(left != right))),
    ("or", |arguments| truths(arguments, |truths| truths.contains(&true))),
    ("regex_replace", |arguments| replace(arguments, true)),
    ("replace", |arguments| replace(arguments, false)),
    ("reverse", |arguments| one_text(arguments, |text| text.chars().rev().collect())),
    ("reverselist", |arguments| list(arguments).map(|items| Value::Array(items.into_iter().rev().collect()))),
    ("sanitize", |arguments| {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        one_text(arguments, |text| {
            text.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
        })
    }),
    ("sha256", |arguments| one_text(arguments, |text| hexadecimal(&sha2::Sha256::digest(text)))),
    ("sha512", |arguments| one_text(arguments, |text| hexadecimal(&sha2::Sha512::digest(text)))),
    ("slice", |arguments| match three(arguments)? {
        (Value::Array(items), start, end) => {
            let at = |value: &Value| value.as_u64().and_then(|at| usize::try_from(at).ok());
            let range = at(&start).zip(at(&end)).and_then(|(start, end)| items.get(start..end));
            range
                .map(|items| Value::Array(items.to_vec()))
                .ok_or_else(|| "there are no such elements".to_owned())
        }
        _ => Err("takes a list and two numbers".to_owned()),
    }),
    ("sort", |arguments| {
        let mut items = list(arguments)?
            .iter()
            .map(|item| field::text(item).ok_or("takes a list of texts"))
            .collect::<Result<Vec<_>, _>>()?;
        items.sort();
        Ok(Value::Array(items.into_iter().map(Value::String).collect()))
    }),
    ("split", |arguments| match two(arguments)? {
        (Value::String(separator), Value::String(text)) => {
            Ok(Value::Array(text.split(&separator).map(Value::from).collect()))
        }
        _ => Err("takes two texts".to_owned()),
    }),
    ("strlen", |arguments| single_text(arguments).map(|text| Value::from(text.chars().count()))),
    ("substr", |arguments| match three(arguments)? {
        (Value::String(text), start, length) => {
            let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            let start = start.as_i64().ok_or("takes a number")?;
            let start = if start < 0 { (count + start).max(0) } else { start };
            let letters = text.chars().skip(usize::try_from(start).unwrap_or(usize::MAX));
            Ok(Value::String(match usize::try_from(length.as_i64().ok_or("takes a number")?) {
                Ok(length) => letters.take(length).collect(),
                Err(_) => letters.collect(),
            }))
        }
        _ => Err("takes a text and two numbers".to_owned()),
    }),
    ("subtract", |arguments| numbers(arguments, |numbers| Some(first(numbers)? - numbers.get(1)?))),
    ("title", |arguments| {
        one_text(arguments, |text| {
            let mut begins = true;
            let cased = text.chars().map(|letter| {
                let upper = begins.then(|| letter.to_uppercase().next()).flatten();
                begins = !letter.is_alphanumeric();
                upper.unwrap_or(letter)
            });
            cased.collect()
        })
    }),
    ("trim", |arguments| {
        two_texts(arguments, |text, letters| text.trim_matches(|letter| letters.contains(letter)).to_owned())
    }),
    ("trimprefix", |arguments| {
        two_texts(arguments, |text, part| text.strip_prefix(part).unwrap_or(text).to_owned())
    }),
    ("trimspace", |arguments| one_text(arguments, |text| text.trim().to_owned())),
    ("trimsuffix", |arguments| {
        two_texts(arguments, |text, part| text.strip_suffix(part).unwrap_or(text).to_owned())
    }),
    ("upper", |arguments| one_text(arguments, str::to_uppercase)),
    ("values", |arguments| match single(arguments)? {
        Value::Object(members) => {
            let mut pairs: Vec<_> = members.into_iter().collect();
            pairs.sort_by(|left, right| left.0.cmp(&right.0));
            Ok(Value::Array(pairs.into_iter().map(|(_, value)| value).collect()))
        }
        _ => Err("takes an object".to_owned()),
    }),
];

/// Makes them known.
pub(super) fn declare(context: &mut Context<'_>) {
    for (name, function) in FUNCTIONS {
        context.declare_func(*name, FuncDef::builder().variadic_param(ParamType::Any).build(*function));
    }
}

fn single(arguments: FuncArgs) -> Answer {
    let [value] = <[Value; 1]>::try_from(arguments.into_values()).map_err(|_| "takes one argument")?;
    Ok(value)
}

fn two(arguments: FuncArgs) -> Result<(Value, Value), String> {
    let [left, right] = <[Value; 2]>::try_from(arguments.into_values()).map_err(|_| "takes two arguments")?;
    Ok((left, right))
}

fn three(arguments: FuncArgs) -> Result<(Value, Value, Value), String> {
    let [one, two, three] =
        <[Value; 3]>::try_from(arguments.into_values()).map_err(|_| "takes three arguments")?;
    Ok((one, two, three))
}

fn as_list(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err("takes a list".to_owned()),
    }
}

fn list(arguments: FuncArgs) -> Result<Vec<Value>, String> {
    as_list(single(arguments)?)
}

fn texts(arguments: FuncArgs) -> Result<Vec<String>, String> {
    let values = arguments.into_values();
    values.iter().map(|value| field::text(value).ok_or_else(|| "takes texts".to_owned())).collect()
}

fn single_text(arguments: FuncArgs) -> Result<String, String> {
    field::text(&single(arguments)?).ok_or_else(|| "takes a text".to_owned())
}

fn one_text(arguments: FuncArgs, change: impl Fn(&str) -> String) -> Answer {
    single_text(arguments).map(|text| Value::String(change(&text)))
}

fn two_texts(arguments: FuncArgs, change: impl Fn(&str, &str) -> String) -> Answer {
    match two(arguments)? {
        (Value::String(left), Value::String(right)) => Ok(Value::String(change(&left, &right))),
        _ => Err("takes two texts".to_owned()),
    }
}

fn numbers(arguments: FuncArgs, compute: impl Fn(&[f64]) -> Option<f64>) -> Answer {
    let numbers: Option<Vec<f64>> = arguments.into_values().iter().map(Value::as_f64).collect();
    let result =
        compute(&numbers.ok_or("takes numbers")?).ok_or("has too few arguments, or divides by zero")?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only a number that is whole and small enough is cast"
    )]
    let whole = (result.fract() == 0.0 && result.abs() < 9e15).then_some(result as i64);
    match whole {
        Some(whole) => Ok(Value::from(whole)),
        None => {
            hcl::Number::from_f64(result).map(Value::Number).ok_or_else(|| "has no finite result".to_owned())
        }
    }
}

fn first(numbers: &[f64]) -> Option<f64> {
    numbers.first().copied()
}

fn divisor(numbers: &[f64]) -> Option<f64> {
    numbers.get(1).copied().filter(|divisor| *divisor != 0.0)
}

fn truths(arguments: FuncArgs, compute: impl Fn(&[bool]) -> bool) -> Answer {
    let truths: Option<Vec<bool>> = arguments.into_values().iter().map(Value::as_bool).collect();
    Ok(Value::Bool(compute(&truths.ok_or("takes true or false")?)))
}

fn flatten(items: Vec<Value>) -> Vec<Value> {
    let flat = items.into_iter().flat_map(|item| match item {
        Value::Array(inner) => flatten(inner),
        other => vec![other],
    });
    flat.collect()
}

fn element(of: &Value, at: &Value) -> Option<Value> {
    match (of, at) {
        (Value::Array(items), at) => items.get(usize::try_from(at.as_u64()?).ok()?).cloned(),
        (Value::Object(members), Value::String(key)) => members.get(key).cloned(),
        _ => None,
    }
}

fn replace(arguments: FuncArgs, is_regex: bool) -> Answer {
    let (Value::String(text), Value::String(pattern), Value::String(replacement)) = three(arguments)? else {
        return Err("takes three texts".to_owned());
    };
    if !is_regex {
        return Ok(Value::String(text.replace(&pattern, &replacement)));
    }
    let regex = regex_lite::Regex::new(&pattern).map_err(|error| error.to_string())?;
    Ok(Value::String(regex.replace_all(&text, replacement.as_str()).into_owned()))
}

/// `%s`, `%d`, `%v`, `%q` and `%%`; a width may stand in between.
fn format(pattern: &str, mut values: impl Iterator<Item = Value>) -> Result<String, String> {
    let mut text = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let mut width = String::new();
        let verb = loop {
            match letters.next() {
                Some(digit) if digit.is_ascii_digit() => width.push(digit),
                Some(verb) => break verb,
                None => return Err("the format ends in the middle".to_owned()),
            }
        };
        if verb == '%' {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or("has too few arguments")?;
        let shown = field::text(&value)
            .map_or_else(|| serde_json::to_string(&value).map_err(|error| error.to_string()), Ok)?;
        let shown = match verb {
            's' | 'v' | 'd' => shown,
            'q' => format!("{shown:?}"),
            other => return Err(format!("unknown verb %{other}")),
        };
        let (zeros, cells) =
            (width.starts_with('0') && verb == 'd', width.parse::<usize>().unwrap_or(0).min(1000));
        let gap = cells.saturating_sub(shown.chars().count());
        text.push_str(&if zeros { "0" } else { " " }.repeat(gap));
        text.push_str(&shown);
    }
    Ok(text)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
