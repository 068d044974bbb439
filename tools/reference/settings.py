"""The settings, from their pydantic models in `data/config/sections/`."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from data.config.settings import SECTIONS, Settings
from tools.reference import markdown
from tools.reference.markdown import code

HEAD = ("Setting", "Value", "Default", "Description")


def reference() -> str:
    """One section of the page for each section of `understudy.toml`."""
    home = Settings.model_fields["home"]
    parts = ["## The top of the file\n\n" + markdown.table(HEAD, [row("", "home", home)])]
    for section, model in SECTIONS.items():
        rows = [row(section, name, field) for name, field in model.model_fields.items()]
        intro = markdown.paragraphs(model.__doc__ or "")
        parts.append(f"## [{section}]\n\n{intro}\n\n{markdown.table(HEAD, rows)}")
    return "\n".join(parts)


def row(section: str, name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    variable = f"UNDERSTUDY_{section}_{name}" if section else f"UNDERSTUDY_{name}"
    setting = f"{code(name)}<br>{code(variable.upper())}"
    return setting, allowed(field), code(shown(field.default)), field.description or ""


def allowed(field: FieldInfo) -> str:
    """The values that a setting accepts, as text."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        choices = ", ".join(code(shown(choice)) for choice in get_args(kind))
        return f"one of {choices}"
    if get_origin(kind) is tuple:
        return "list of texts"
    names: dict[Any, str] = {
        bool: f"{code('true')} or {code('false')}",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        SecretStr: "text (secret)",
    }
    return f"{names[kind]}{limits(field)}"


def limits(field: FieldInfo) -> str:
    """The range of a number, as text; '' if it has none."""
    low = high = ""
    for bound in field.metadata:
        match bound:
            case Ge(ge=least):
                low = f"{least}"
            case Gt(gt=least):
                low = f"more than {least}"
            case Le(le=most):
                high = f"{most}"
            case Lt(lt=most):
                high = f"less than {most}"
    if low and high and not low.startswith("more") and not high.startswith("less"):
        return f" from {low} to {high}"
    low = f"at least {low}" if low and not low.startswith("more") else low
    high = f"at most {high}" if high and not high.startswith("less") else high
    found = " and ".join(filter(None, (low, high)))
    return f", {found}" if found else ""


def shown(value: Any) -> str:
    """A value in TOML syntax."""
    match value:
        case bool():
            return str(value).lower()
        case SecretStr():
            return '""'
        case str() | Path():
            return f'"{value}"'
        case ():
            return "[]"
    return str(value)
