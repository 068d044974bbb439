"""Texts that strangers write to deceive or to attack those who read them: one table for Slack's
blocks, the web page in a browser, and the exported CSV files."""

EVIL = "https://evil.example"
HOSTILE_TEXTS = {
    "mrkdwn": f"*Approved* by `admin` <{EVIL}|Reset your password> ~no~",
    "mentions": "<!channel> <!here> <!subteam^S0EVIL> <@UEVIL> <#CEVIL>",
    "escaped mention": "&lt;!channel&gt; &amp;",
    "script": "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>",
    "markdown link": f"[Reset](javascript:document.title='owned') ![x]({EVIL}/x.png)",
    "right-to-left override": "invoice\u202efdp.exe\u2066 and \u200bmore",
    "NUL and escapes": "Yes\x00no \x1b[2J\x1b]52;c;AAAA\x07\x9b\rNo",
    "formula": f'=HYPERLINK("{EVIL}","Open")',
    "formula after a tab": "\t=1+1",
    "formula, plus": "+1+cmd|' /C calc'!A0",
    "formula, minus": "-2+3",
    "formula, at": "@SUM(1+1)",
    "formula, full-width": "＝1+1",
    "formula after a quote": "'=1+1",
}
