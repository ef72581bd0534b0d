"""The background programs: each module joins the parts of one and runs it."""
