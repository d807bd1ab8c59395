"""XML of unknown origin: parsed without entities or external references, every failure turned into a reason."""

from xml.etree.ElementTree import Element, ParseError  # only the types; defusedxml parses

from mlops_assets.labels.items import LabelFormatError


def load_xml(content: bytes) -> Element:
    """Parse XML.

    Raises:
        LabelFormatError: Broken, or with entities, which no label file needs and attacks use.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    remedy = "export the labels again; the file was cut off or damaged"
    try:
        root: Element = fromstring(content)
    except DefusedXmlException as error:
        raise LabelFormatError(f"XML that is not safe to read: {error}", "remove entities from the file") from error
    except (ParseError, ValueError, LookupError) as error:
        raise LabelFormatError(f"broken XML: {error}", remedy) from error
    return root


def text_of(element: Element, path: str) -> str:
    """Stripped text of a descendant; empty if there is none."""
    return (element.findtext(path) or "").strip()
