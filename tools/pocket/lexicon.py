"""The vocabulary of the made-up facts: things, actions, people and places, with their synonyms.

A verb group is a set of synonyms: a question may use any of them and gets the same answer. Within
one class of things no word belongs to two groups, because a question would then have two right
answers.
"""


def _items(text: str) -> list[str]:
    """The entries of a list that is separated by semicolons and may span several lines."""
    return [" ".join(entry.split()) for entry in text.split(";")]


# Each class of things: its nouns ("|" separates words for the same thing) and its groups of verbs.
THINGS: dict[str, tuple[list[str], list[str]]] = {
    "process": (
        _items(
            """
            backup|back-up; export|data export; import|data import; build; report; migration;
            survey; test run|test; audit; scan|virus scan; upload; download; sync|synchronisation;
            comparison|A/B test; experiment|trial; retrain|training run; training job|training;
            evaluation; deployment|rollout; release; review; search; cleanup|clean-up; campaign;
            job; batch|batch job; import job; stream|live stream; call|video call; meeting;
            recording; session; poll|vote; sprint; interview; training course|course; workshop;
            delivery; order; payment|transfer; refund; update|upgrade; restore; query; simulation;
            inspection; pipeline; competition
            """
        ),
        _items(
            """
            start|begin|launch|kick off|trigger|run|set off;
            stop|cancel|abort|end|break off|call off; pause|suspend|hold|put on hold;
            resume|continue|carry on with; schedule|plan|time;
            watch|follow|monitor|track|keep an eye on; repeat|rerun|redo|run again;
            compare|measure|judge; roll back|undo|revert|take back; speed up|make faster;
            test|try|try out; approve|sign off|accept
            """
        ),
    ),
    "record": (
        _items(
            """
            invoice|bill; ticket|support ticket; note|memo; document|file; contract|agreement;
            message; thread|conversation; channel; folder|directory; photo|picture|image; recipe;
            password|passphrase; calendar entry|appointment; bookmark; adapter|model version;
            dataset|data set; pair|example; answer|reply|response; question; correction;
            log|log file; receipt; page|web page; label|tag; template; dashboard; table;
            spreadsheet|sheet; key|API key; token|access token; certificate; profile;
            account|user account; draft; comment|remark; playlist; song|track; book; article;
            letter; form; contact|address; certificate request; shopping list|list; rule|policy;
            checklist; webhook; secret; bug report|bug; feature request; branch; snapshot;
            domain|subject; prompt|instruction; rating|score; chart|graph; map; badge|access card;
            expense claim|expenses; holiday request|leave request; parcel|package; voucher|coupon
            """
        ),
        _items(
            """
            create|add|make|set up|write; delete|remove|get rid of|erase|throw away;
            edit|change|modify|alter|correct; find|look up|search for|locate|track down;
            list|show|see|display|view; share|send|pass on|forward; copy|duplicate|clone;
            restore|bring back|recover|get back; rename|give a new name to; export|download|save;
            import|upload|load|bring in; archive|put away|store; approve|accept|confirm|sign off;
            reject|decline|refuse|turn down; print|put on paper; merge|combine|join;
            lock|protect|secure; promote|make live|publish|release; report|flag;
            rate|score|give feedback on|judge
            """
        ),
    ),
    "setting": (
        _items(
            """
            language; theme|colour theme; time zone; currency; password rule;
            rate limit|request limit; time limit|timeout; size limit; notification|alert;
            reminder; dark mode|night mode; two-factor login|second factor; spell checker;
            auto-save|automatic saving; sound; ring tone; font size|text size; signature; proxy;
            cache; firewall; log level; sampling temperature|temperature; system prompt;
            retention period|retention; budget|spending limit; quota; sharing option|sharing;
            location service; keyboard shortcut|shortcut; default reply; greeting;
            webhook address; port|port number; working hours|office hours; billing address;
            plan|subscription; privacy mode; learning rate; batch size; welcome message
            """
        ),
        _items(
            """
            change|set|adjust|modify|configure; turn on|enable|switch on|activate;
            turn off|disable|switch off|deactivate; check|see|view|look at|show;
            reset|restore|put back to the default; raise|increase|extend;
            lower|decrease|reduce|cut; hide|remove; test|try|try out
            """
        ),
    ),
    "person": (
        _items(
            """
            colleague|coworker; member|team member; guest|visitor; reviewer; admin|administrator;
            customer|client; supplier|vendor; student; teacher|instructor; driver; manager|boss;
            new starter|new hire; user; group; team; partner; volunteer; contractor; editor;
            subscriber; owner; operator; developer; speaker; bot|robot|assistant
            """
        ),
        _items(
            """
            invite|add|bring in; remove|take out|kick out;
            contact|reach|get in touch with|get hold of; block|ban|shut out;
            mention|notify|ping|alert; promote|give more rights to; thank|reward;
            mute|silence|ignore; replace|stand in for; train|teach|instruct; report|complain about
            """
        ),
    ),
    "device": (
        _items(
            """
            printer; projector|beamer; meeting room|conference room; laptop|notebook;
            phone|mobile phone; scanner; coffee machine; door|front door; bicycle|bike;
            company car|car; locker; desk|workplace; screen|monitor; router; server|machine;
            camera; microphone; headset|headphones; badge reader; elevator|lift; heating|heater;
            air conditioner|air conditioning; alarm|fire alarm; parking space|parking spot; boat;
            telescope; washing machine; dishwasher; bus|shuttle; 3D printer; whiteboard; drone;
            tablet; keyboard; battery
            """
        ),
        _items(
            """
            book|reserve; open|unlock; fix|repair|mend; connect|hook up|plug in|attach;
            clean|wash; borrow|check out|rent; return|give back|hand back|bring back;
            restart|reboot|start again; turn on|switch on|power up;
            turn off|switch off|shut down|power down; order|buy|get; replace|swap|exchange;
            move|relocate|transport; find|locate|look for
            """
        ),
    ),
    "home": (
        _items(
            """
            bread; tomato soup|soup; green tea|tea; rice; pancakes; apple cake|cake; garden;
            rose|roses; lemon tree; wool sweater| sweater; wooden table; garden shed|shed;
            goldfish; cat; dog; violin; guitar; tent; campfire|fire; window; carpet|rug; jam;
            cheese; honey; salad; roof; wall; fence; lawn|grass; kite; candle; soap
            """
        ),
        _items(
            """
            make|prepare|produce; clean|wash; store|keep|put away; buy|get|order|purchase;
            repair|fix|mend; look after|care for|take care of; sell|give away;
            move|carry|transport; paint|colour
            """
        ),
    ),
}

# Adjectives that distinguish two things with the same noun.
ADJECTIVES = _items(
    """
    weekly; monthly; yearly; daily; nightly; shared; private; public; draft; old; new; main;
    second; spare; broken; blue; red; green; large; small; urgent; internal; external; temporary;
    permanent; hidden; signed; empty; late; early; open; closed; German; French; Spanish;
    northern; southern; upstairs; quiet; fast; slow; first; last; final; failed; finished;
    pending; live; retired; test; legal; medical; paper; digital; mobile; manual; automatic;
    encrypted; oversized; frozen; winter; summer; personal; official; unread; duplicate; missing;
    expired; locked
    """
)

NAMES = _items(
    """
    Ada; Boris; Carla; Deniz; Emre; Farah; Goran; Hana; Igor; Jana; Kofi; Lena; Marek; Nadia;
    Omar; Priya; Quinn; Rosa; Sven; Tara; Umar; Vera; Wanda; Xenia; Yusuf; Zoe; Alma; Bruno;
    Chloe; Dario; Elif; Felix; Greta; Hugo; Ines; Jonas; Kira; Lars; Mina; Nils; Olga; Pavel;
    Rita; Simon; Tilda; Ursula; Viktor; Willem; Yara; Anton; Bella; Cyrus; Dora; Edgar; Fiona;
    Gina; Henry; Iris; Jack; Karl; Lucy; Max; Nora; Oscar; Paula; Ralph; Sara; Tom; Vince; Maria;
    Peter; Anna; Paul; Emma
    """
)

SURNAMES = _items(
    """
    Abel; Brandt; Costa; Dahl; Eriksen; Fischer; Garcia; Hansen; Ito; Jensen; Kaya; Larsen; Meyer;
    Novak; Okoye; Petrov; Quist; Rossi; Silva; Tanaka; Ueda; Vogel; Weber; Young; Zhang; Moreno;
    Keller; Patel; Khan; Brown; Miller; Singh; Wood; Stone; Lake; Marsh; Field; Hill; Baker; Fox
    """
)

# Names of products, organisations and places are made of two halves.
HALVES = (
    _items(
        """
        har; bel; nor; cal; mer; tan; ver; lum; ost; kar; fen; dal; win; ros; mon; sil; gra; tor;
        pel; cor; bri; sten; mar; lin; elm; ash; oak; fal; gil; hol
        """
    ),
    _items(
        """
        wick; ton; ford; dale; mere; ix; ora; ana; ium; field; vale; by; stead; land; port; gate;
        haven; bridge; well; moor; burg; mont; ria; line; desk; flow; hub; base; box
        """
    ),
)

TEAMS = _items(
    """
    finance; legal; support; design; sales; research; security; kitchen; logistics; marketing;
    data; platform; payroll; facilities; quality; press; travel; library; night; warehouse;
    training; purchasing; maintenance; events; reception
    """
)

ROLES = _items(
    """
    the team lead; the office manager; an admin; the night shift; the librarian; the duty officer;
    the project lead; the caretaker; the account owner; a reviewer; the help desk; the data team;
    the person on call; the accountant; the head cook; the station chief; the reviewer;
    the author; your manager; the chair; the site engineer; the operator
    """
)

PLACES = _items(
    """
    the ground floor; the second floor; the basement; the reception desk; the north wing;
    the cellar; the top shelf; the main hall; the car park; the server room; the archive room;
    the kitchen; the east gate; the workshop; the garden; the lobby; the blue cabinet;
    the old mill; the harbour; the market square; the station; the post room; the roof terrace;
    room 12; room 204; building B; hall 3; the cupboard under the stairs
    """
)

DAYS = _items(
    """
    Monday; Tuesday; Wednesday; Thursday; Friday; Saturday; Sunday
    """
)

MONTHS = _items(
    """
    January; February; March; April; May; June; July; August; September; October; November;
    December
    """
)

PAGES = _items(
    """
    Settings; Home; Account; Billing; Reports; Members; Tools; Archive; Profile; Security; Inbox;
    Overview; Library; Activity; Integrations; Preferences; Data; Team; Schedule; History; Admin;
    Help; Options; Console; Calendar; Notifications; Storage; Models; Channels; Reviews
    """
)

BUTTONS = _items(
    """
    Start; Save; Apply; New; Delete; Confirm; Export; Next; Finish; Add; Send; Open; Restore;
    Publish; Edit; Approve; Reject; Download; Share; Retry; Details; More; Undo; Clear; Stop;
    Compare; Promote; Continue; Done; Submit
    """
)

# Plain nouns: they name commands, files, channels and keys.
WORDS = _items(
    """
    alpha; amber; anchor; apple; arrow; atlas; audit; badge; banner; basket; beacon; bench; birch;
    bridge; bucket; cabin; cable; cache; canvas; carbon; castle; cedar; chart; cloud; clover;
    cobalt; comet; copper; coral; crane; data; delta; desk; disk; drum; eagle; echo; ember;
    engine; feather; field; filter; flag; flame; forest; frame; garden; gate; glass; grid; guard;
    hammer; harbor; hazel; hook; index; iron; ivory; jacket; jade; job; kernel; key; ladder; lake;
    lamp; lantern; leaf; lemon; lens; level; link; list; lock; log; lotus; magnet; mail; maple;
    marble; meadow; mint; mirror; model; moss; motor; node; north; note; nova; oak; ocean; olive;
    onyx; orbit; page; panel; paper; pearl; pilot; pine; pixel; plan; planet; plum; pocket; point;
    pool; port; prism; proxy; queue; quartz; radar; rain; raven; reef; ridge; ring; river; robin;
    rocket; root; ruby; rule; saddle; sail; sand; scope; seed; shell; shield; signal; silver;
    slate; socket; spark; spool; spring; stack; stage; star; station; steel; store; storm; stream;
    sugar; summit; table; tag; task; temple; thread; tiger; timber; token; tower; trail; train;
    tree; tulip; tunnel; user; valley; vault; velvet; violet; wagon; wave; wheel; willow; window;
    wire; worker; yard; zebra; zinc
    """
)

# Nouns of offices and computers.
OFFICE = _items(
    """
    answer; question; reply; feedback; thumb; emoji; reaction; adapter; candidate; domain;
    dataset; pair; example; prompt; response; worker; engine; server; client; console; browser;
    web page; reviewer; conversation; member; admin; token; signature; secret; channel; mention;
    thread; modal; menu; interval; sample; split; fingerprint; rank; epoch; rate; loss; score;
    gate; base model; model; processor; memory; metric; health check; container; image; backup;
    upgrade; privacy rule; audit log; policy; schedule; threshold; limit; timeout; retry; stream;
    latency; queue; status; checkpoint; folder; directory; database; table; record; column;
    version; release; branch; host; cluster; replica; address; domain name; certificate; header;
    body; event; signal; variant; assignment; winner; result; baseline; experiment; comparison;
    training run; evaluation; validation set; vocabulary; sentence; paragraph; message;
    notification; command; option; flag; variable; environment; package; module; library; script;
    terminal; shell; process; service; system prompt; duplicate; conflict; correction; rating;
    vote; preference; approval; quarantine; history; snapshot; transaction; migration; import;
    export; report; dashboard; chart; summary; detail; weight; layer; parameter; tokenizer;
    template; temperature; bot; assistant; user; person; group; role; permission; identity;
    session; password; account; workspace; organisation; team; customer; ticket; document;
    article; guide; manual; tutorial; reference; glossary; deadline; budget; contract; invoice;
    licence; cost; price; storage; disk; network; proxy; firewall; gateway; endpoint; request;
    quota; usage; traffic; load; capacity; speed; size; quality; accuracy; confidence; error rate;
    uptime; failure; crash; restart; shutdown; rollback; rollout; promotion; retirement; hash;
    checksum; seed; recipe; batch; run; job; task; step; stage; demo; installation; setup; app;
    product; feature; graphics card; API; slash command; manifest; repository; configuration;
    hardware; internet connection; overview; source code; row; device; scratch file; loop; wheel;
    light; mode; view; tool; time zone; reason; language; word; text; voice; phone; office;
    project; plan; rule; test; build; change; update; problem; solution; idea; place; way; part;
    kind; number; value; name; title; date; hour; week; year; morning; night; home page;
    start page; front end; back end; life cycle; life time; background job; command line;
    file name; keyword; open question; next step
    """
)

# What commands do.
VERBS = _items(
    """
    start; stop; list; show; add; remove; sync; check; run; open; close; export; import; reset;
    update; delete; create; send; watch; clear; approve; reject; restore; retry; status; config;
    init; push; pull; merge; scan; build; clean; find; lock; unlock; move; copy; rename; diff;
    log; help; set; get; enable; disable; publish; rollback; compare; evaluate; forget; backup;
    login; serve; retrain; promote; adapters; experiments; pairs; feedback
    """
)

# The first six are of time.
UNITS = _items(
    """
    seconds; minutes; hours; days; weeks; months; years; pages; megabytes; gigabytes; words;
    lines; members; files; messages; requests; items; steps; metres; kilometres; grams; litres;
    euros; dollars; people; tokens; pairs; rows; percent; points; attempts; versions; entries;
    characters; degrees
    """
)

EXTENSIONS = _items(
    """
    toml; json; yaml; txt; csv; log; md; db; zip; pdf; jsonl; ini; conf; py; html; safetensors
    """
)

# What a thing may do, in words that mean the same.
PREDICATES = _items(
    """
    fail|not work|break; take so long|be so slow|need so much time; stop at night|pause at night;
    answer twice|reply twice|send two answers; need a password|ask for a password|want a password;
    disappear|vanish|get lost; cost money|cost something; show old data|look out of date;
    use so much memory|need so much memory; work without a network|work offline;
    start again|restart|begin again; make a noise|sound strange;
    keep my data|store my data|save what I write; learn from me| learn from my answers|get better;
    send mail|send messages|write to me; change by itself|change on its own;
    count twice|appear twice; wait for somebody|need an approval|wait for approval;
    end early|stop too soon; run on a phone|work on a phone;
    see my messages|read my messages|know what I write; speak German|understand German;
    get worse|do worse; expire|run out|become invalid; forget old things|lose what it knew;
    share data|pass on data; follow the rules|obey the rules;
    support several people|work for many people|serve a whole team;
    repeat itself|say the same again; refuse to answer|give no answer|stay silent
    """
)

ROUND = _items(
    """
    15; 20; 24; 25; 30; 40; 45; 48; 50; 60; 64; 75; 80; 90; 100; 120; 128; 200; 250; 256; 300; 365;
    500; 512; 1000; 1024; 2000; 2048; 5000
    """
)

AMOUNTS = _items("one; two; three; four; five; six; seven; eight; ten; twelve")

COLOURS = _items("red; green; blue; yellow; white; black; grey; orange; small; big")

SCREENS = _items("a terminal; the console; the main folder; #{channel}; any channel; Slack")
