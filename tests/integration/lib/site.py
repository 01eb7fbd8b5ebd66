"""A site's configuration, made by the test and printed as YAML by PyYAML."""
import copy

import yaml


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


class Site:
    """Links and meters are added; `office` and other sections are plain dictionaries."""

    def __init__(self, gateway="site-042", office=None, **sections):
        self.document = {"gateway": {"id": gateway, "timezone": "Asia/Shanghai", "gas_day_start": "06:00"},
                         "links": [], "meters": []}
        if office:
            self.document["office"] = office
        self.document.update(sections)

    def link(self, link, url, **keys):
        self.document["links"].append({"id": link, "url": url, **keys})
        return self

    def meter(self, meter, link, unit, profile="fuxin-totalizer", interval_s=1, **keys):
        self.document["meters"].append({"id": meter, "link": link, "unit": unit, "profile": profile,
                                        "interval_s": interval_s, **keys})
        return self

    def changed(self, change):
        """A copy after `change(document)`."""
        other = Site.__new__(Site)
        other.document = copy.deepcopy(self.document)
        change(other.document)
        return other

    def text(self):
        return yaml.dump(self.document, Dumper=_Plain, sort_keys=False, allow_unicode=True)


def office_plain(broker, **keys):
    """The office section of a broker without TLS on loopback: raw readings and a summary each minute."""
    return {"url": broker.url, "summary_minutes": 1, "raw_readings": True, **keys}
