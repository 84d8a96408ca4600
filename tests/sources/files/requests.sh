# as Chromium copies them
curl 'http://127.0.0.1:8000/api/items?limit=5' \
  -H 'Accept: */*' \
  -H 'Accept-Language: en-US,en;q=0.9' \
  -b 'sid=QmFzZTY0LXNlc3Npb24tMQ; theme=dark' \
  -H 'Sec-Fetch-Mode: cors' \
  -H 'X-Token: tok-5f0a9c3d7b1e2f64'

curl 'http://127.0.0.1:8000/api/notes' \
  -H 'Content-Type: application/json' \
  -H 'X-Token: tok-5f0a9c3d7b1e2f64' \
  --data-raw $'{"text":"it\'s a {note}","stars":5}' \
  --insecure
curl 'http://127.0.0.1:8000/login' --data-raw 'user=ada&password=correct-horse-9' -L --compressed
curl -sS -X DELETE -u ada:correct-horse-9 http://127.0.0.1:8000/api/notes/7
curl -G http://127.0.0.1:8000/search --data-urlencode 'q=green tea' -d page=2 --http2-prior-knowledge
