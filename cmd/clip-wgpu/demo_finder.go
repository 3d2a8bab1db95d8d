package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"image"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/cmd/clip-wgpu/internal/gallery"
	"github.com/clip-wgpu/clip-wgpu/search"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// maxHits is how many pictures the window has room for, one below the other.
const maxHits = 1000

// indexFinder finds the pictures of an index.
type indexFinder struct {
	*session
	index    *index.Index
	searcher *search.Searcher
	refusal  string
}

// find searches by what was typed and dropped.
func (p *indexFinder) find(ctx context.Context, s gallery.Search) (f gallery.Found) {
	q, err := search.Parse(s.Text)
	if err != nil {
		return gallery.Found{Err: err}
	}
	if s.Picture != "" {
		q.Terms = append(q.Terms, search.Term{Picture: s.Picture})
	}
	q.Top = maxHits
	r, err := p.searcher.Search(ctx, q)
	if err != nil {
		return gallery.Found{Err: err}
	}
	f = gallery.Found{Hits: make([]gallery.Hit, len(r.Hits)), Ranked: len(q.Terms) > 0, Encode: r.Encode, Search: r.Search}
	for i, h := range r.Hits {
		f.Hits[i] = gallery.Hit{ID: h.ID, Path: pathOf(h.Picture, q.Filter), Score: h.Score}
	}
	return f
}

// thumbnail decodes a picture's thumbnail.
func (p *indexFinder) thumbnail(ctx context.Context, id int64) (*image.RGBA, error) {
	data, err := p.index.Thumbnail(ctx, id)
	if err != nil {
		return nil, err
	}
	img, err := preprocess.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return opaque(img), nil
}

// addFolder adds a folder's pictures.
func (p *indexFinder) addFolder(ctx context.Context, folder string, tell func(gallery.Progress)) {
	if p.refusal != "" {
		tell(gallery.Progress{Folder: folder, Finished: true, Err: errors.New(p.refusal)})
		return
	}
	tell(gallery.Progress{Folder: folder})
	report, err := p.update(ctx, folder, func(u index.Progress) {
		now := gallery.Progress{Folder: folder, Done: u.Done, Total: u.Total}
		if u.Spent > 0 {
			now.Rate = float64(u.Done) / u.Spent.Seconds()
		}
		tell(now)
	})
	n, failed := p.index.Len(ctx)
	tell(gallery.Progress{Folder: folder, Finished: true, Pictures: n, Err: cmp.Or(err, failed, missing(report))})
}

// missing tells of files that an update has no pictures of.
func missing(r index.Report) error {
	var parts []string
	if n := r.Failed + r.StillFailed; n > 0 {
		parts = append(parts, plural(n, "file")+" could not be read")
	}
	if len(r.LeftOut) > 0 {
		parts = append(parts, "left out: "+countFormats(r.LeftOut))
	}
	if parts == nil {
		return nil
	}
	return errors.New(strings.Join(parts, "; "))
}

// update brings the index up to date with a folder.
func (p *indexFinder) update(ctx context.Context, folder string, tell func(index.Progress)) (index.Report, error) {
	return p.index.Update(ctx, []string{folder}, search.Encoder(p.model, p.batch), index.UpdateOptions{MaxThumbnails: defaultThumbnails, Progress: tell})
}
