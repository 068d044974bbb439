# curl: whole and streamed, and over the offer of HTTP/2 that `--http2` makes.
set -eu
ask() {
    curl -sS --fail -H "Authorization: Bearer $OPENAI_API_KEY" -H "Content-Type: application/json" "$@"
}
asked='{"model": "'$MODEL'", "messages": [{"role": "user", "content": "What?"}]'
ask "$OPENAI_BASE_URL/chat/completions" -d "$asked}" | grep -q '"content":"One job."'
echo chat
ask -N "$OPENAI_BASE_URL/chat/completions" -d "$asked, \"stream\": true}" | grep -q '^data: \[DONE\]'
echo "chat, streamed"
ask --http2 "$OPENAI_BASE_URL/chat/completions" -d "$asked}" | grep -q '"content":"One job."'
echo "chat, with --http2"
ask "$OPENAI_BASE_URL/models" | grep -q "\"id\":\"$MODEL\""
echo models
