"""`python -m tools.docs_site` builds the site, or serves it."""

from tools.docs_site.build import main

raise SystemExit(main())
