package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/train/data"
)

// sameData refuses to go on with other data than that of the training.
func (r *trainingRun) sameData(set *data.Dataset) error {
	names := set.Fingerprint()
	switch {
	case r.resume == "" || names == r.saved.Names:
	case r.saved.Names == "" && r.saved.Data == set.FingerprintOfPlaces():
	case r.saved.Samples > 0 && r.saved.Samples != set.Len():
		return fmt.Errorf("--resume %s: the data is not that of the training: it has %s, and had %d", r.resume, plural(set.Len(), "sample"), r.saved.Samples)
	default:
		return fmt.Errorf("--resume %s: the data is not that of the training: names, captions or their order differ", r.resume)
	}
	r.saved.Names, r.saved.Data, r.saved.Samples = names, "", set.Len()
	return nil
}

// sameModel refuses to go on with a model of another config, whose weights may have the
// shapes of the training's all the same.
func (r *trainingRun) sameModel() error {
	now := r.model.Config()
	if r.saved.Config != nil {
		field, err := differing(*r.saved.Config, now)
		if err == nil && field != "" {
			err = fmt.Errorf("--resume %s: model %s is not that of the training: %s", r.resume, r.model.Name(), field)
		}
		if err != nil {
			return err
		}
	}
	r.saved.Config = &now
	return nil
}

// sameDevice refuses another device, unless --device asks for it: the steps that follow are
// not those of an undisturbed training.
func (r *trainingRun) sameDevice() error {
	now, before := r.model.Device().Info().Name, r.saved.Device
	if r.resume != "" && now != before {
		if !r.otherDevice {
			return fmt.Errorf("--resume %s: the training was on %s, and this is %s, which rounds otherwise: --device goes on on another one nevertheless", r.resume, before, now)
		}
		r.note("warning: the training was on %s and goes on on %s, which rounds otherwise", before, now)
	}
	r.saved.Device = now
	return nil
}

// differing names the first field that two configs have other values of; "" is none. What a
// file does not say was its default when it was read: other versions write other fields.
func differing(before, now config.Config) (field string, err error) {
	a, b := map[string]string{}, map[string]string{}
	for _, one := range []struct {
		all map[string]string
		of  config.Config
	}{{a, before}, {b, now}} {
		content, err := json.Marshal(one.of)
		if err != nil {
			return "", err
		}
		var value any
		if err := json.Unmarshal(content, &value); err != nil {
			return "", err
		}
		flatten(one.all, "", value)
	}
	names := maps.Clone(a)
	maps.Copy(names, b)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, had := a[name]
		is, has := b[name]
		switch {
		case !has:
			return fmt.Sprintf("it has no %s, which was %s", name, was), nil
		case !had:
			return fmt.Sprintf("%s is %s, and was not there", name, is), nil
		case was != is:
			return fmt.Sprintf("%s is %s, and was %s", name, is, was), nil
		}
	}
	return "", nil
}

// flatten adds the fields of a JSON value, by names such as text_cfg.heads.
func flatten(all map[string]string, name string, value any) {
	fields, ok := value.(map[string]any)
	if !ok {
		all[name] = fmt.Sprint(value)
		return
	}
	for field, inner := range fields {
		flatten(all, strings.TrimPrefix(name+"."+field, "."), inner)
	}
}
