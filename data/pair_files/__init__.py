"""Files of pairs: reads them in the formats that people bring, imports them, and writes them.

A file is read as rows: JSON objects, or rows of a table. The columns of a row are recognised by
their names, the row becomes a verdict (a pair, a rated answer, left out, or wrong), and the
importer stores what may be stored and reports the rest.

- `archives`: gzip files and zip archives, within bounds
- `chat_messages`: conversations: OpenAI's chat messages and ShareGPT's
- `column_names`: the names that files use for the parts of a pair, in several languages
- `columns`: which part of a pair each column is, and which columns are not used
- `conflicting_answers`: finds rows whose question has another answer already
- `csv_files`: tables as CSV
- `docx_files`: FAQ documents of Word
- `encodings`: files that are not UTF-8
- `faq_blocks`: questions and answers of a document
- `files`: reads and writes files
- `folders`: folders with files of pairs
- `formats`: the file formats, one entry each
- `html_files`: FAQ pages in HTML
- `html_text`: HTML as plain text
- `import_process`: previews and imports uploaded files in a process of their own
- `importer`: imports a file into a domain, or shows what an import would do
- `json_files`: JSON Lines, JSON arrays, and objects of several lines
- `markdown_files`: FAQ documents in Markdown, and text with `Q:` and `A:`
- `open_rows`: opens a file, recognises it, and gives its rows
- `notion`: which files of a Notion export hold the same rows
- `openai_batch`: joins the questions and answers of an OpenAI batch
- `parquet_files`: Parquet files, with pyarrow
- `preferences`: preferred, rejected, liked and disliked answers
- `rating_words`: the words that say whether an answer was liked
- `reading`: what is known while a file is read
- `row_marks`: what a row says about itself: split, status, rating, or not to be learned
- `rows`: turns one row into pairs or rated answers
- `slack_export`: the threads of a Slack export
- `sources`: exports of other tools
- `stack_exchange`: posts of a Stack Exchange data dump
- `staged_files`: uploaded files that wait to be imported
- `training_folders`: data and configuration for other training tools
- `unread_formats`: what to import in place of a file that is not read
- `verdicts`: what a row turns out to be
- `xlsx_files`: Excel workbooks
- `xml_events`: XML piece by piece, without entities
"""
