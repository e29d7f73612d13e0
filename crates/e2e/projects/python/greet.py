"""Greets by a template and a document, each read by a package that pip has brought."""
import getpass
import sys

import jinja2
import yaml

document = yaml.safe_load("greeting: hello")
words = {"name": sys.argv[1], "user": getpass.getuser(), **document}
print(jinja2.Template("{{ greeting }} {{ name }}, says {{ user }}").render(words))
