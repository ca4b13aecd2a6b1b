"""The packages zeroproofml 0.4.3 and 0.6.1, by what their documentation makes public.

These modules run in a worker, where ``zeroproof`` is the package. A checker of types would find
ours instead, so what is imported from it is ``Any``. What a package does not claim to do is
``Unsupported``, and an option that it lacks is not tried.
"""
