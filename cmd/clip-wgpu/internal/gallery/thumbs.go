package gallery

import "image"

// thumbs are the thumbnails that were shown last.
type thumbs struct {
	byID map[int64]*thumb
	now  int // scenes so far
}

type thumb struct {
	image *image.RGBA // nil where it cannot be had
	shown int
}

// maxThumbs is as many as hits are asked for: who drops those in sight loads them for ever.
const maxThumbs = 1000

func (t *thumbs) arrived(e Thumbnail) {
	if e.Err != nil {
		e.Image = nil
	}
	t.byID[e.ID] = &thumb{e.Image, t.now}
	for len(t.byID) > maxThumbs {
		oldest := e.ID
		for id, th := range t.byID {
			if th.shown < t.byID[oldest].shown {
				oldest = id
			}
		}
		delete(t.byID, oldest)
	}
}

// show returns a thumbnail, or nil; missing tells that there will be none.
func (t *thumbs) show(id int64) (img *image.RGBA, missing bool) {
	th := t.byID[id]
	if th == nil {
		return nil, false
	}
	th.shown = t.now
	return th.image, th.image == nil
}
