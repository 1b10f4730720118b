/* SPDX-License-Identifier: Apache-2.0 */
/* keys: the pages of phoenix.json and of a migration's spec: every key of their tables, with its whole path.
 */
#include "manual/pages.h"
#include "manual/roff.h"

#include "config_schema.h"
#include "config_value.h"
#include "pipeline/spec.h"

#include <inttypes.h>

static void append_words(const char *const *words, struct buf *out)
{
	for (size_t i = 0; words[i]; i++)
		buf_printf(out, "%s\"%s\"", i ? (words[i + 1] ? ", " : " or ") : "", words[i]);
}

static void append_range(const char *what, const struct key_spec *spec, struct buf *out)
{
	buf_printf(out, "%s from %" PRIu64 " to %" PRIu64, what, spec->min, spec->max);
}

/* "a whole number from 1 to 64", "one of "auto" or "off"". */
static void append_type(const struct key_spec *spec, struct buf *out)
{
	switch (spec->type) {
	case KEY_BOOL:
		buf_append_str(out, "true or false");
		break;
	case KEY_U32:
	case KEY_U64:
		append_range("a whole number", spec, out);
		break;
	case KEY_FRACTION:
		buf_printf(out, "a fraction from %g to %g in steps of 0.0001",
			   (double)spec->min / CONFIG_WEIGHT_ONE, (double)spec->max / CONFIG_WEIGHT_ONE);
		break;
	case KEY_REAL:
		append_range("a number", spec, out);
		break;
	case KEY_WORD:
		append_words(spec->words, out);
		break;
	case KEY_STRING:
		buf_append_str(out, spec->form ? spec->form : "a text");
		break;
	case KEY_STRINGS:
		buf_printf(out, "a list of %" PRIu64 " to %" PRIu64 " texts", spec->min, spec->max);
		if (spec->form)
			buf_printf(out, ", each %s", spec->form);
		break;
	case KEY_URL:
		buf_append_str(out, "an http:// URL");
		break;
	case KEY_LISTEN:
		buf_append_str(out, "an address");
		break;
	case KEY_LISTENS:
		buf_printf(out, "a list of %" PRIu64 " to %" PRIu64 " addresses", spec->min, spec->max);
		break;
	case KEY_METHODS:
		buf_append_str(out, "a method, a list of methods, or \"*\"; methods are ");
		append_words(config_method_words, out);
		break;
	case KEY_SPLIT:
		buf_append_str(out, "\"request\", \"client_ip\", \"header:NAME\" or \"cookie:NAME\"");
		break;
	case KEY_ROUTES:
		buf_printf(out, "a list of at most %" PRIu64 " routes", spec->max);
		break;
	case KEY_JSON:
		buf_append_str(out, "any JSON");
		break;
	case KEY_SECTION:
		buf_append_str(out, "an object");
		break;
	}
	if (spec->nullable)
		buf_append_str(out, ", or null");
}

static void key_item(const struct key_spec *spec, const char *path, struct buf *out)
{
	struct buf name = {0}, type = {0};

	buf_printf(&name, "%s%s", path, spec->key);
	roff_item(out, buf_cstr(&name), NULL, spec->help ? spec->help : "");
	buf_append_str(&type, "Value: ");
	append_type(spec, &type);
	buf_append_str(&type, ".");
	if (spec->type == KEY_ROUTES)
		;
	else if (spec->fallback)
		buf_printf(&type, " Default: %s", spec->fallback);
	else
		buf_append_str(&type, " It is required.");
	roff_item_line(out, buf_cstr(&type));
	buf_fini(&name);
	buf_fini(&type);
}

/* The plain keys of a section, then each section below it under a title of its own. */
static void keys_of(const struct section_spec *section, const char *path, struct buf *out)
{
	for (const struct key_spec *spec = section->keys; spec->key; spec++)
		if (spec->type != KEY_SECTION)
			key_item(spec, path, out);
	for (const struct key_spec *spec = section->keys; spec->key; spec++) {
		struct buf below = {0};
		if (!spec->section)
			continue;
		buf_printf(&below, "%s%s%s", path, spec->key, spec->type == KEY_ROUTES ? "[]" : "");
		roff_subsection(out, buf_cstr(&below));
		roff_text(out, spec->section->help);
		buf_append_char(&below, '.');
		keys_of(spec->section, buf_cstr(&below), out);
		buf_fini(&below);
	}
}

void page_config(struct buf *out)
{
	roff_section(out, "DESCRIPTION");
	roff_text(out, "The configuration is JSON, or the same model as YAML when the file's name ends in "
		       ".yaml or .yml. "
		       "Every key has a default but those of a route that say \"required\". An unknown key, "
		       "a key given "
		       "twice or a value of another type is an error, and every error of the file is told in "
		       "one run, "
		       "with line and column.\n\n"
		       "phoenixctl config check FILE checks a file without a daemon, phoenixctl config "
		       "schema prints its "
		       "JSON Schema, phoenixctl config diff tells what a reload would change. SIGHUP or "
		       "phoenixctl config "
		       "reload puts a new file into effect without a failed request.\n\n"
		       "The file owns the structure, run time owns the weights: a weight that was set at run "
		       "time stays "
		       "until the file's own value changes.");
	roff_section(out, "KEYS");
	keys_of(&config_section, "", out);
	roff_section(out, "EXAMPLES");
	roff_literal(out, "{\n"
			  "  \"listen\": [\"127.0.0.1:8080\"],\n"
			  "  \"routes\": [\n"
			  "    {\"id\": \"users\", \"method\": \"GET\", \"path\": \"/api/users/*\",\n"
			  "     \"legacy_url\": \"http://127.0.0.1:9001\",\n"
			  "     \"modern_url\": \"http://127.0.0.1:9002\"}\n"
			  "  ]\n"
			  "}\n");
	roff_section(out, "SEE ALSO");
	roff_text(out, "phoenixctl(1), phoenixd(8)");
}

void page_spec(struct buf *out)
{
	roff_section(out, "DESCRIPTION");
	roff_text(
		out,
		"What phoenixctl migrate and phoenixctl deploy are given, as JSON or YAML: the code of a new "
		"service, its route, and how to get there. The stages are verify, deploy, healthy, mirror, "
		"migrate "
		"and complete; whatever goes wrong in one of them undoes all that was done.\n\n"
		"A spec is code that runs on the gateway's machine with the daemon's rights.");
	roff_section(out, "KEYS");
	keys_of(&spec_section, "", out);
	roff_section(out, "EXAMPLES");
	roff_literal(out, "{\n"
			  "  \"id\": \"users\",\n"
			  "  \"route\": {\"method\": \"GET\", \"path\": \"/users/*\",\n"
			  "            \"legacy_url\": \"http://127.0.0.1:9001\"},\n"
			  "  \"service\": {\"source\": {\"directory\": \"users-service\"}, \"port\": 9102,\n"
			  "              \"health\": \"/healthz\"},\n"
			  "  \"verify\": [{\"request\": {\"path\": \"/users/1\"}}]\n"
			  "}\n");
	roff_section(out, "SEE ALSO");
	roff_text(out, "phoenixctl(1), phoenix.json(5)");
}
