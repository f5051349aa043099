"""What several pages share: reads, session keys, texts, charts, colours, small cards. Never a page itself."""
