"""Pictures of what comes after what, in lines of text."""


def branches(nodes, parent=None, indent=""):
    """Draw a graph as a tree: each node hangs below the last of those that it comes after; the others are named.

    Parameters
    ----------
    nodes : list of (str, sequence of str)
        Name, and the names of those before it; each node after all of those.
    parent : str or None
        Draw what hangs below this one; None: what comes after nothing.
    indent : str

    Returns
    -------
    list of (str, str)
        The node's name and its line, in the order of the picture.
    """
    order = [name for name, _ in nodes]
    children = [node for node in nodes if (max(node[1], key=order.index) if node[1] else None) == parent]
    lines = []
    for k, (name, after) in enumerate(children):
        last = k == len(children) - 1
        twig, below = ("", "") if parent is None else (("└─ ", "   ") if last else ("├─ ", "│  "))
        others = [other for other in after if other != parent]
        lines.append((name, f"{indent}{twig}{name}" + (f" (and {', '.join(others)})" if others else "")))
        lines += branches(nodes, name, indent + below)
    return lines


def table(heads, rows):
    """Return a table's lines, columns as wide as they must be; rows are lists of texts."""
    widths = [max(len(row[k]) for row in [heads, *rows]) for k in range(len(heads))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [heads, *rows]
    ]
