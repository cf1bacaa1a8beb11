"""Forms of core ipywidgets, and the loops that stand for them in a terminal; each leaves a plain record behind."""
