package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// envPrefix begins the variables that override the file: the keys in capitals,
// joined by underscores, such as PORCHLIGHT_APPS_SHOP_POLICY_GRACE. Lists of
// texts have commas, items of other lists are numbered from 0.
const envPrefix = "PORCHLIGHT_"

// otherVariables are used by the tools, not by the configuration.
var otherVariables = []string{"PORCHLIGHT_TOKEN", "PORCHLIGHT_KEY", "PORCHLIGHT_CPUPROFILE", "PORCHLIGHT_BENCH_ROLE"}

// linkVariable is what Kubernetes and Docker set for a service of our name.
var linkVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)$`)

// override sets what the environment says. An empty variable says nothing.
func (c *Config) override(environ []string, p *problems) {
	vars := map[string]string{}
	c.src.env = map[string]string{}
	for _, s := range environ {
		name, value, _ := strings.Cut(s, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" || slices.Contains(otherVariables, name) {
			continue
		}
		at, leaf, ok := resolve(reflect.TypeFor[Config](), strings.TrimPrefix(name, envPrefix))
		switch {
		case ok:
			at = c.spelt(at)
			c.src.env[at.String()] = name
			vars[name] = value
			checkVariable(p, at, leaf, value)
		case linkVariable.MatchString(name):
		case strings.HasPrefix(name, envPrefix+"APPS_"), strings.HasPrefix(name, envPrefix+"LISTEN_"):
			p.add(nil, "%s: no key of the configuration has this variable; mend its name or take it away", name)
		default:
			c.warnings = append(c.warnings, "the environment has "+name+", which no key of the configuration has")
		}
	}
	slices.Sort(c.warnings)
	if len(p.list) > 0 || len(vars) == 0 {
		return
	}
	set := func(v any, prefix string) {
		if err := env.ParseWithOptions(v, env.Options{Environment: vars, Prefix: prefix}); err != nil {
			p.add(nil, "environment: %s", masked(err.Error()))
		}
	}
	set(c, envPrefix)
	for app, prefix := range named(vars, envPrefix+"APPS_", c.Apps) {
		a := c.Apps[app]
		set(&a, prefix)
		for platform, prefix := range named(vars, prefix+"POLICY_PLATFORMS_", a.Policy.Platforms) {
			y := a.Policy.Platforms[platform]
			set(&y, prefix)
			put(&a.Policy.Platforms, platform, y)
		}
		for endpoint, prefix := range named(vars, prefix+"WEBHOOKS_", a.Webhooks) {
			w := a.Webhooks[endpoint]
			set(&w, prefix)
			put(&a.Webhooks, endpoint, w)
		}
		put(&c.Apps, app, a)
	}
	c.checkItems(p)
}

func put[V any](m *map[string]V, name string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[name] = v
}

// named lists the entries of a mapping that variables with a prefix are for,
// each with the prefix of its own variables. Entries that the file does not have
// are made, in small letters.
func named[V any](vars map[string]string, prefix string, known map[string]V) map[string]string {
	list := map[string]string{}
	for name := range vars {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			word, _, _ := strings.Cut(rest, "_")
			list[entryName(word, known)] = prefix + word + "_"
		}
	}
	return list
}

// entryName is the key in a mapping that a word in capitals means.
func entryName[V any](word string, known map[string]V) string {
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if strings.EqualFold(name, word) {
			return name
		}
	}
	return strings.ToLower(word)
}

// spelt spells the names in a place as the file does.
func (c *Config) spelt(at place) place {
	if len(at) > 1 && at[0] == "apps" {
		at[1] = entryName(at[1], c.Apps)
		if len(at) > 4 && at[3] == "platforms" {
			at[4] = entryName(at[4], c.Apps[at[1]].Policy.Platforms)
		}
		if len(at) > 3 && at[2] == "webhooks" {
			at[3] = entryName(at[3], c.Apps[at[1]].Webhooks)
		}
	}
	return at
}

// resolve finds the place that a variable without its prefix is for, and the
// type of the value there.
func resolve(t reflect.Type, rest string) (place, reflect.Type, bool) {
	switch {
	case t.Kind() == reflect.Map || t.Kind() == reflect.Slice:
		word, rest, ok := strings.Cut(rest, "_")
		if t.Kind() == reflect.Slice {
			i, err := strconv.Atoi(word)
			if err != nil || strconv.Itoa(i) != word {
				return nil, nil, false
			}
			word = "[" + word + "]"
		}
		if !ok || word == "" {
			return nil, nil, false
		}
		at, leaf, ok := resolve(t.Elem(), rest)
		return append(place{word}, at...), leaf, ok
	case t.Kind() != reflect.Struct:
		return nil, nil, false
	}
	for f := range t.Fields() {
		if name := f.Tag.Get("env"); name != "" && name == rest {
			return place{yamlName(f)}, f.Type, true
		}
		if prefix := f.Tag.Get("envPrefix"); prefix != "" && strings.HasPrefix(rest, prefix) {
			if at, leaf, ok := resolve(f.Type, rest[len(prefix):]); ok {
				return append(place{yamlName(f)}, at...), leaf, true
			}
		}
	}
	return nil, nil, false
}

// checkVariable says what is wrong with a value before the decoder does, whose
// errors do not name the variable.
func checkVariable(p *problems, at place, t reflect.Type, value string) {
	var err error
	want := ""
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == durationType:
		_, err = time.ParseDuration(value)
		want = "a time; write 35s, 2m or 1h"
	case t.Kind() == reflect.Bool:
		_, err = strconv.ParseBool(value)
		want = "true or false"
	case t.Kind() == reflect.Float64:
		_, err = strconv.ParseFloat(value, 64)
		want = "a number"
	case t.Kind() == reflect.Int:
		_, err = strconv.ParseInt(value, 10, 32)
		want = "a whole number"
	case t.Kind() == reflect.Int64:
		_, err = strconv.ParseInt(value, 10, 64)
		want = "a whole number"
	case t.Kind() == reflect.Map:
		for item := range strings.SplitSeq(value, ",") {
			if !strings.Contains(item, "=") {
				p.add(at, "want NAME=VALUE, several with commas between them")
				return
			}
		}
	}
	if err != nil {
		p.add(at, "%q is not %s", masked(cut(value)), want)
	}
}

// checkItems refuses variables for items that a list does not have: one number
// was left out.
func (c *Config) checkItems(p *problems) {
	for _, at := range slices.Sorted(maps.Keys(c.src.env)) {
		m := itemPlace.FindStringSubmatch(at)
		if m == nil {
			continue
		}
		a := c.Apps[m[1]]
		n := map[string]int{"server_keys": len(a.ServerKeys), "jwt.keys": len(a.JWT.Keys)}[m[2]]
		if i, _ := strconv.Atoi(m[3]); i >= n {
			p.add(nil, "%s: there is no item %d before it; items are numbered from 0 without gaps", c.src.env[at], n)
		}
	}
}

var itemPlace = regexp.MustCompile(`^apps\.(\w+)\.([a-z_.]+)\[(\d+)\]`)
