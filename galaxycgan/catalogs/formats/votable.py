"""VOTable 1.4 with BINARY2 data, written in pieces: ids stay whole, missing values stay missing.

https://www.ivoa.net/documents/VOTable/20191021/ section 5.4: each row starts with one bit per column that tells a
missing value, then come the cells, big-endian.
"""

import base64
import re
from xml.sax.saxutils import escape, quoteattr

import numpy as np

ROWS_AT_ONCE = 4096
#: Bytes that become one full line of base64.
LINE_BYTES = 57
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def votable_text(name, columns, meanings, metadata, data=("",)):
    """Yield the text of a VOTable.

    Parameters
    ----------
    name : str
    columns : dict of PlainColumn
    meanings : dict of Meaning
    metadata : dict
        {name: text}, written as INFO.
    data : iterable of str
        What stands after the fields, in pieces.
    """
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
        '<RESOURCE type="results">\n'
    )
    for key, value in metadata.items():
        yield f"<INFO name={_attribute(key)} value={_attribute(value)}/>\n"
    length = len(next(iter(columns.values())).values)
    yield f'<TABLE name={_attribute(name)} nrows="{length}">\n'
    for title, column in columns.items():
        yield _field(title, column.values, meanings[title])
    yield from data
    yield "</TABLE>\n</RESOURCE>\n</VOTABLE>\n"


def _attribute(text):
    return quoteattr(_CONTROL.sub("?", str(text)))


def _field(name, values, about):
    """Return a FIELD element."""
    datatype = {"b": "boolean", "i": "long"}.get(values.dtype.kind)
    datatype = datatype or {4: "float", 8: "double"}.get(values.dtype.itemsize * (values.dtype.kind == "f"))
    size = ""
    if datatype is None:
        datatype, cells = _text_cells(values)
        size = f' arraysize="{cells.dtype.itemsize // (2 if datatype == "unicodeChar" else 1)}"'
    unit = f" unit={_attribute(about.unit)}" if about.unit else ""
    start = f'<FIELD name={_attribute(name)} datatype="{datatype}"{size}{unit} ucd={_attribute(about.ucd)}>'
    return f"{start}\n<DESCRIPTION>{escape(_CONTROL.sub('?', about.description))}</DESCRIPTION>\n</FIELD>\n"


def _text_cells(values):
    """Return datatype and cells of a column of text: ASCII where it is, else 16-bit characters."""
    if all(value.isascii() for value in values):
        return "char", values.astype("S")
    encoded = np.array([value.encode("utf-16-be").ljust(2, b"\0") for value in values.tolist()])
    return "unicodeChar", encoded.astype(f"S{encoded.dtype.itemsize + encoded.dtype.itemsize % 2}")


def binary2(columns):
    """Yield the DATA element of a VOTable.

    Parameters
    ----------
    columns : dict of PlainColumn
    """
    yield '<DATA>\n<BINARY2>\n<STREAM encoding="base64">\n'
    rest = b""
    for piece in _rows(list(columns.values())):
        rest += piece
        whole = len(rest) // LINE_BYTES * LINE_BYTES
        yield base64.encodebytes(rest[:whole]).decode("ascii")
        rest = rest[whole:]
    yield base64.encodebytes(rest).decode("ascii") + "</STREAM>\n</BINARY2>\n</DATA>\n"


def _rows(columns):
    """Yield rows as bytes, some thousand at a time."""
    cells = [_cells(column) for column in columns]
    flags = np.packbits(np.stack([column.missing for column in columns], axis=1), axis=1)
    fields = [("flags", "u1", flags.shape[1:]), *((f"f{k}", one.dtype) for k, one in enumerate(cells))]
    for start in range(0, len(flags), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        rows = np.empty(len(flags[part]), dtype=fields)
        rows["flags"] = flags[part]
        for k, one in enumerate(cells):
            rows[f"f{k}"] = one[part]
        yield rows.tobytes()


def _cells(column):
    """Return a column as its cells lie in a row."""
    values = column.values
    if values.dtype.kind == "b":
        return np.where(column.missing, b"?", np.where(values, b"T", b"F"))
    if values.dtype.kind in "if":
        return values.astype(values.dtype.newbyteorder(">"))
    return _text_cells(values)[1]
