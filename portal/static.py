"""How static files are stored: compressed, with the hash of their content in the name."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):
    """Imports between our ES modules are hashed too."""

    support_js_module_import_aggregation = True
