"""The conformance suite: any subject, held to the specification clause by clause."""
